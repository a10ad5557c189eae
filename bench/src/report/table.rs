//! A load's figures as lines of text.

use crate::comparison::{Comparison, Metric};
use crate::measure::Summary;

/// A table's cells, the headings first.
pub type Rows = Vec<Vec<String>>;

impl Comparison {
    /// The figures of one load, for a terminal.
    pub fn table(&self, load: usize) -> String {
        let rows = self.rows(load);
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let lines: Vec<String> = rows.iter().map(line).collect();
        format!("{}\n{}\n", self.loads[load].name, lines.join("\n"))
    }

    /// Medians over the repeats, a row per contender; with their spread and as a multiple of the baseline's what is compared.
    pub fn rows(&self, load: usize) -> Rows {
        let mut headings = vec![String::new()];
        for metric in &self.metrics {
            headings.push(metric.heading());
            if let (true, Some(base)) = (metric.compared, self.baseline) {
                headings.push(format!("x {}", self.contenders[base]));
            }
        }
        let contenders = (0..self.contenders.len()).filter(|&contender| self.has(load, contender));
        let mut rows = vec![headings];
        rows.extend(contenders.map(|contender| self.row(load, contender)));
        rows
    }

    fn row(&self, load: usize, contender: usize) -> Vec<String> {
        let mut row = vec![self.contenders[contender].clone()];
        for (index, metric) in self.metrics.iter().enumerate() {
            let summary = self.summary(load, contender, index);
            row.push(summary.map_or("-".into(), |summary| match metric.compared {
                true => with_spread(metric, summary),
                false => metric.show(summary.median),
            }));
            if metric.compared && self.baseline == Some(contender) {
                row.push("1".into());
            } else if metric.compared && self.baseline.is_some() {
                let ratio = self.ratio(load, contender, index);
                row.push(ratio.map_or("-".into(), |Summary { median, min, max }| {
                    format!("{median:.2} ({min:.2}..{max:.2})")
                }));
            }
        }
        row
    }
}

fn with_spread(metric: &Metric, Summary { median, min, max }: Summary) -> String {
    if min == max {
        return metric.show(median);
    }
    format!("{} ({}..{})", metric.show(median), metric.show(min), metric.show(max))
}

#[cfg(test)]
mod tests {
    use crate::comparison::tests::example;

    #[test]
    fn a_row_for_each_contender() {
        let expected = "64 B x 64\n\
            \x20                    CPU, us              x raw  p50, us  p99, us\n\
            raw     12.00 (10.00..14.00)                  1     50.0     99.0\n\
            <nbio>  24.00 (20.00..28.00)  2.00 (2.00..2.00)     50.0        -\n";
        assert_eq!(example().table(1), expected);
    }
}
