//! What every benchmark gives: some contenders, measured under some loads by some metrics, several times in turns.
//!
//! All tables, charts and files are made from this, so that a benchmark only has to measure.

use std::collections::BTreeMap;

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::measure::Summary;

/// One of the figures that a measurement gives.
#[derive(Clone, Copy, Serialize)]
pub struct Metric {
    pub name: &'static str,
    pub unit: &'static str,
    pub digits: usize,
    pub better: Better,
    /// It is compared with the baseline's, and drawn.
    pub compared: bool,
    /// It is this quantile of a distribution, which is drawn as one.
    pub quantile: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Better {
    Less,
    More,
    /// It explains the others.
    Neither,
}

impl Metric {
    pub const fn new(name: &'static str, unit: &'static str, digits: usize, better: Better) -> Metric {
        Metric { name, unit, digits, better, compared: false, quantile: None }
    }

    pub const fn compared(mut self) -> Metric {
        self.compared = true;
        self
    }

    pub const fn quantile(mut self, quantile: f64) -> Metric {
        self.quantile = Some(quantile);
        self
    }

    /// Its name and unit, as a heading.
    pub fn heading(&self) -> String {
        if self.unit.is_empty() { self.name.into() } else { format!("{}, {}", self.name, self.unit) }
    }

    pub fn show(&self, value: f64) -> String {
        let digits = self.digits;
        // No negative zero.
        format!("{:.digits$}", value + 0.0)
    }
}

/// What the contenders are put under.
#[derive(Clone, Serialize)]
pub struct Load {
    pub name: String,
    /// What it is made of, by name: along these the charts go.
    pub parameters: BTreeMap<&'static str, f64>,
}

impl Load {
    pub fn new(name: impl Into<String>, parameters: &[(&'static str, f64)]) -> Load {
        Load { name: name.into(), parameters: parameters.iter().copied().collect() }
    }
}

#[derive(Serialize)]
pub struct Sample {
    pub load: usize,
    pub contender: usize,
    pub repeat: usize,
    /// By metric; `None` is what could not be measured.
    pub values: Vec<Option<f64>>,
}

#[derive(Serialize)]
pub struct Comparison {
    /// A word, for the names of files.
    pub name: &'static str,
    pub title: String,
    /// What is measured and how, for somebody who reads nothing else.
    pub about: String,
    pub metrics: Vec<Metric>,
    pub loads: Vec<Load>,
    pub contenders: Vec<String>,
    /// The contender that the others are compared with.
    pub baseline: Option<usize>,
    pub samples: Vec<Sample>,
    /// What is missing, and why.
    pub notes: Vec<String>,
}

impl Comparison {
    /// The first contender is the baseline, until another one is chosen.
    pub fn new(
        name: &'static str,
        title: impl Into<String>,
        about: impl Into<String>,
        metrics: &[Metric],
        contenders: Vec<String>,
    ) -> Comparison {
        Comparison {
            name,
            title: title.into(),
            about: about.into(),
            metrics: metrics.to_vec(),
            loads: Vec::new(),
            contenders,
            baseline: Some(0),
            samples: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The contender of this name is the baseline; if it doesn't take part nobody is.
    pub fn against(mut self, baseline: &str) -> Comparison {
        self.baseline = self.contenders.iter().position(|name| name == baseline);
        self
    }

    /// Measures all contenders under one more load.
    pub fn measure(
        &mut self,
        load: Load,
        repeats: usize,
        mut measure: impl FnMut(usize, usize) -> anyhow::Result<Vec<Option<f64>>>,
    ) -> anyhow::Result<()> {
        self.measure_together(vec![load], repeats, |contender, repeat| Ok(vec![measure(contender, repeat)?]))
    }

    /// Measures all contenders under some more loads, where a measurement gives the figures for each: in turns, and each
    /// repeat in another order, so that no contender always runs after the same one or at the same moment of the machine's
    /// noise.
    ///
    /// One that can't be measured at all is left out, with a note; one that fails later is an error.
    pub fn measure_together(
        &mut self,
        loads: Vec<Load>,
        repeats: usize,
        mut measure: impl FnMut(usize, usize) -> anyhow::Result<Vec<Vec<Option<f64>>>>,
    ) -> anyhow::Result<()> {
        ensure!(repeats > 0, "--repeats must be at least 1");
        let words = loads.first().map_or(String::new(), |load| load.name.clone());
        let first = self.loads.len();
        let mut left: Vec<usize> = (0..self.contenders.len()).collect();
        let bar = progress(repeats * left.len());
        for repeat in 0..repeats {
            let mut order = left.clone();
            order.rotate_left(repeat % left.len());
            for contender in order {
                let name = &self.contenders[contender];
                bar.set_message(format!("{}: {words}, {name}", self.name));
                match measure(contender, repeat) {
                    Ok(figures) => self.take(first, contender, repeat, figures),
                    Err(error) if repeat == 0 && left.len() > 1 => {
                        left.retain(|other| *other != contender);
                        self.notes.push(format!("{name}, {words}: not measured: {error:#}"));
                    }
                    Err(error) => return Err(error.context(format!("{name}, {words}"))),
                }
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        self.loads.extend(loads);
        (first..self.loads.len()).for_each(|load| println!("{}", self.table(load)));
        Ok(())
    }

    fn take(&mut self, first: usize, contender: usize, repeat: usize, figures: Vec<Vec<Option<f64>>>) {
        for (load, values) in figures.into_iter().enumerate() {
            assert_eq!(values.len(), self.metrics.len(), "a value for every metric");
            self.samples.push(Sample { load: first + load, contender, repeat, values });
        }
    }

    /// The values of a contender under a load, with the repeat of each.
    pub fn values(&self, load: usize, contender: usize, metric: usize) -> impl Iterator<Item = (usize, f64)> {
        let own = move |sample: &&Sample| sample.load == load && sample.contender == contender;
        let value = move |sample: &Sample| Some((sample.repeat, sample.values[metric]?));
        self.samples.iter().filter(own).filter_map(value)
    }

    pub fn summary(&self, load: usize, contender: usize, metric: usize) -> Option<Summary> {
        Summary::of(self.values(load, contender, metric).map(|(_, value)| value))
    }

    /// As a multiple of the baseline's in the same repeat, where the machine's noise was most alike.
    pub fn ratio(&self, load: usize, contender: usize, metric: usize) -> Option<Summary> {
        let base = self.baseline?;
        Summary::of(self.values(load, contender, metric).filter_map(|(repeat, value)| {
            let (_, base) = self.values(load, base, metric).find(|(other, _)| *other == repeat)?;
            (base != 0.0).then_some(value / base)
        }))
    }

    /// Whether anything is known of it.
    pub fn has(&self, load: usize, contender: usize) -> bool {
        self.samples.iter().any(|sample| sample.load == load && sample.contender == contender)
    }
}

fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}");
    // Drawn on stderr, and only where that is a terminal.
    ProgressBar::new(steps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two contenders under three loads, five times.
    pub fn example() -> Comparison {
        let metrics = [
            Metric::new("CPU", "us", 2, Better::Less).compared(),
            Metric::new("p50", "us", 1, Better::Less).quantile(0.5),
            Metric::new("p99", "us", 1, Better::Less).quantile(0.99),
        ];
        let mut comparison =
            Comparison::new("echo", "Echo", "how", &metrics, vec!["raw".into(), "<nbio>".into()]);
        for connections in [1.0, 64.0, 512.0] {
            let load = Load::new(format!("64 B x {connections}"), &[("connections", connections)]);
            comparison
                .measure(load, 5, |contender, repeat| {
                    let cpu = (1 + contender) as f64 * (10.0 + repeat as f64);
                    Ok(vec![Some(cpu), Some(50.0), (contender == 0).then_some(99.0)])
                })
                .expect("measured");
        }
        comparison
    }

    #[test]
    fn ratios_are_within_a_repeat() {
        let comparison = example();
        let cpu = comparison.summary(1, 0, 0).expect("values");
        assert_eq!((cpu.median, cpu.min, cpu.max), (12.0, 10.0, 14.0));
        let ratio = comparison.ratio(1, 1, 0).expect("values");
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.0, 2.0, 2.0));
        assert_eq!(comparison.summary(1, 1, 2), None);
    }

    #[test]
    fn each_repeat_has_another_order() {
        let metrics = [Metric::new("CPU", "us", 2, Better::Less)];
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let mut comparison = Comparison::new("order", "", "", &metrics, names);
        let mut order = Vec::new();
        let load = || Load::new("load", &[]);
        comparison
            .measure(load(), 3, |contender, _| {
                order.push(contender);
                Ok(vec![None])
            })
            .expect("measured");
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
    }

    #[test]
    fn what_cannot_be_measured_is_noted_and_what_fails_later_is_an_error() {
        let metrics = [Metric::new("CPU", "us", 2, Better::Less)];
        let names = ["here", "missing"].map(str::to_owned).to_vec();
        let mut comparison = Comparison::new("missing", "", "", &metrics, names);
        let load = || Load::new("load", &[]);
        let here = |contender, _| {
            ensure!(contender == 0, "apt-get install it");
            Ok(vec![Some(1.0)])
        };
        comparison.measure(load(), 2, here).expect("one is there");
        assert_eq!(comparison.notes, ["missing, load: not measured: apt-get install it"]);
        assert!(comparison.has(0, 0) && !comparison.has(0, 1));
        assert!(
            comparison
                .measure(load(), 2, |_, repeat| {
                    ensure!(repeat == 0, "crashed");
                    Ok(vec![Some(1.0)])
                })
                .is_err()
        );
        assert!(comparison.measure(load(), 1, |_, _| anyhow::bail!("none of them")).is_err());
    }
}
