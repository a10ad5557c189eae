//! The table of `bench echo`, and the figures behind it for `--json`.

use std::fmt::Write;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use crate::echo::{Load, Sample};
use crate::measure::Summary;
use crate::servers::Server;

#[derive(Serialize)]
pub struct Report {
    pub machine: String,
    pub loads: Vec<LoadReport>,
}

#[derive(Serialize)]
pub struct LoadReport {
    pub load: Load,
    pub samples: Vec<Sample>,
}

/// What a server is called on the command line and in the table.
pub fn name(server: Server) -> String {
    server.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Writes all figures to this file, if one was asked for.
pub fn write_json(path: Option<&Path>, report: &impl Serialize) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer_pretty(&mut file, report)?;
        file.flush()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

impl LoadReport {
    /// Medians over the repeats with their spread, a line per server.
    pub fn table(&self, servers: &[Server]) -> String {
        let Load { connections, size, messages } = self.load;
        let mut table = format!("{size} B x {connections} connections, {messages} messages\n");
        let _ = writeln!(
            table,
            "{:<8}{:>10}  {:<15}{:>8}  {:<13}{:>6}{:>11}{:>10}{:>10}{:>10}",
            "server",
            "CPU us/msg",
            "(min..max)",
            "x raw",
            "(min..max)",
            "busy",
            "msgs/s",
            "p50 us",
            "p99 us",
            "p99.9 us"
        );
        for &server in servers {
            // Writing to a string does not fail, but for a server without
            // samples there is nothing to write.
            let _ = self.line(&mut table, server);
        }
        table
    }

    fn line(&self, table: &mut String, server: Server) -> Option<()> {
        let over_repeats = |value: fn(&Sample) -> f64| {
            let own = self.samples.iter().filter(|s| s.server == server);
            Summary::of(own.map(value))
        };
        let cpu = over_repeats(|s| s.cpu_us)?;
        let (ratio, ratio_spread) = match self.ratio_to_raw(server) {
            Some(ratio) => (format!("{:.3}", ratio.median), format!("({:.2}..{:.2})", ratio.min, ratio.max)),
            None => ("-".into(), String::new()),
        };
        writeln!(
            table,
            "{:<8}{:>10.2}  {:<15}{:>8}  {:<13}{:>5.0}%{:>11.0}{:>10.1}{:>10.1}{:>10.1}",
            name(server),
            cpu.median,
            format!("({:.2}..{:.2})", cpu.min, cpu.max),
            ratio,
            ratio_spread,
            over_repeats(|s| s.busy * 100.0)?.median,
            over_repeats(|s| s.messages_per_s)?.median,
            over_repeats(|s| s.p50_us)?.median,
            over_repeats(|s| s.p99_us)?.median,
            over_repeats(|s| s.p999_us)?.median,
        )
        .ok()
    }

    /// CPU time per message as a multiple of the raw server's in the same
    /// repeat, where the machine's noise was most alike.
    fn ratio_to_raw(&self, server: Server) -> Option<Summary> {
        let own = self.samples.iter().filter(|s| s.server == server);
        Summary::of(own.filter_map(|sample| {
            let mut all = self.samples.iter();
            let raw = all.find(|s| s.server == Server::Raw && s.repeat == sample.repeat)?;
            Some(sample.cpu_us / raw.cpu_us)
        }))
    }
}
