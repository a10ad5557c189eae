//! The page: all that was measured, in one file that needs no other.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use super::chart::Chart;
use super::table::Rows;
use crate::comparison::Comparison;

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 0 0 1.5rem; font-size: 13px }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left }
tr.own { background: #eef5ff }
svg { max-width: 100%; height: auto; display: block; margin: 0 0 1rem }
nav a { margin-right: 1rem }
code { background: #f4f4f4; padding: .1rem .3rem }
";

pub fn page(report: &Report, charts: &[Vec<Chart>]) -> anyhow::Result<String> {
    let mut sections = Vec::new();
    for (comparison, charts) in report.comparisons.iter().zip(charts) {
        sections.push(section(comparison, charts)?);
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "nbio: benchmarks" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "nbio compared with other ways of doing the same work" }
                p { (report.machine) br; code { (report.command) } br; "nbio " (report.version) ", " (report.seconds) " s" }
                p {
                    "Medians over repeats in which the contenders take turns, with the least and the most. "
                    "A ratio (x) is taken within each repeat. Believe ratios, not microseconds of different days."
                }
                nav { @for comparison in &report.comparisons { a href={ "#" (comparison.name) } { (comparison.title) } } }
                @for section in &sections { (section) }
            }
        }
    };
    Ok(page.into_string())
}

fn section(comparison: &Comparison, charts: &[Chart]) -> anyhow::Result<Markup> {
    let drawn = charts.iter().map(Chart::svg).collect::<anyhow::Result<Vec<String>>>()?;
    Ok(html! {
        h2 id=(comparison.name) { (comparison.title) }
        p { (comparison.about) }
        @for chart in drawn { (PreEscaped(chart)) }
        @for (index, load) in comparison.loads.iter().enumerate() { (table(&load.name, &comparison.rows(index))) }
        @if !comparison.notes.is_empty() {
            ul { @for note in &comparison.notes { li { (note) } } }
        }
    })
}

fn table(caption: &str, rows: &Rows) -> Markup {
    html! {
        table {
            caption { (caption) }
            @for (index, row) in rows.iter().enumerate() {
                tr class=[row[0].contains("nbio").then_some("own")] {
                    @for cell in row {
                        @if index == 0 { th { (cell) } } @else { td { (cell) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::tests::example;
    use crate::report::chart::charts;

    #[test]
    fn a_page_needs_no_other_file_and_escapes_names() {
        let comparisons = vec![example()];
        let charts: Vec<_> = comparisons.iter().map(charts).collect();
        let report = Report {
            machine: "m & n".into(),
            command: "bench".into(),
            version: "1",
            seconds: 1,
            comparisons,
        };
        let page = page(&report, &charts).expect("a page");
        assert!(page.contains("m &amp; n") && page.contains("&lt;nbio&gt;") && !page.contains("<nbio>"));
        assert!(page.contains("<svg") && page.contains("24.00 (20.00..28.00)"));
        for loads in ["src=", "<link", "@import", "url("] {
            assert!(!page.contains(loads), "{loads}");
        }
    }
}
