//! What is made of the comparisons: tables on the terminal, JSON with all samples, a page with charts.

mod chart;
mod page;
mod table;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use crate::comparison::Comparison;
use crate::measure;

/// Where figures go besides the terminal.
#[derive(clap::Args)]
pub struct Output {
    /// Write all samples to this file
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with tables and charts into this directory, and every chart as SVG and PNG
    #[arg(long, global = true, value_name = "DIRECTORY")]
    report: Option<PathBuf>,
}

/// Everything that was measured in one run.
#[derive(Serialize)]
pub struct Report {
    pub machine: String,
    /// What the user typed.
    pub command: String,
    pub version: &'static str,
    /// Seconds of the whole run.
    pub seconds: u64,
    pub comparisons: Vec<Comparison>,
}

impl Report {
    pub fn new(comparisons: Vec<Comparison>, seconds: u64) -> anyhow::Result<Report> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("cargo run --release -p bench -- {}", arguments.join(" "));
        let version = env!("CARGO_PKG_VERSION");
        Ok(Report { machine: measure::machine()?, command, version, seconds, comparisons })
    }

    /// Prints what is missing, and writes what is asked for.
    pub fn put_out(&self, output: &Output) -> anyhow::Result<()> {
        for note in self.comparisons.iter().flat_map(|comparison| &comparison.notes) {
            println!("note: {note}");
        }
        if let Some(file) = &output.json {
            self.write_json(file).with_context(|| format!("writing {}", file.display()))?;
        }
        if let Some(directory) = &output.report {
            self.write_page(directory).with_context(|| format!("writing into {}", directory.display()))?;
            println!("{}", directory.join("index.html").display());
        }
        Ok(())
    }

    fn write_json(&self, file: &Path) -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(file)?);
        serde_json::to_writer_pretty(&mut file, self)?;
        Ok(file.flush()?)
    }

    /// The page, and each of its charts as a file.
    fn write_page(&self, directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory)?;
        let charts: Vec<_> = self.comparisons.iter().map(chart::charts).collect();
        for (comparison, charts) in self.comparisons.iter().zip(&charts) {
            for (number, chart) in charts.iter().enumerate() {
                let file = |end: &str| directory.join(format!("{}-{}.{end}", comparison.name, number + 1));
                fs::write(file("svg"), chart.svg()?)?;
                chart.png(&file("png"))?;
            }
        }
        fs::write(directory.join("index.html"), page::page(self, &charts)?)?;
        Ok(())
    }
}

/// What a server, or another choice, is called on the command line and in the tables.
pub fn name(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Those chosen, or all there are.
pub fn chosen<T: ValueEnum + Clone>(chosen: &[T]) -> Vec<T> {
    if chosen.is_empty() { T::value_variants().to_vec() } else { chosen.to_vec() }
}

pub fn names<T: ValueEnum + Clone>(choices: &[T]) -> Vec<String> {
    choices.iter().cloned().map(name).collect()
}
