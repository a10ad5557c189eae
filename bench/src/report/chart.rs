//! Charts: every compared metric along every parameter of the loads that varies, and the distributions.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Once;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontStyle;
use plotters::style::register_font;

use crate::comparison::{Comparison, Load, Metric};
use crate::measure::Summary;

const SIZE: (u32, u32) = (960, 460);
const LEGEND: u32 = 190;
const FONT: &str = "sans-serif";

/// A line for each contender over a few places.
pub struct Chart {
    title: String,
    x: String,
    y: String,
    places: Vec<String>,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    /// Which of all contenders it is, for its colour.
    contender: usize,
    /// By place.
    points: Vec<(usize, Summary)>,
}

/// All that there is to draw of a comparison.
pub fn charts(comparison: &Comparison) -> Vec<Chart> {
    let mut charts = Vec::new();
    for (index, metric) in comparison.metrics.iter().enumerate() {
        if metric.compared {
            charts.extend(along_parameters(comparison, index, metric));
        }
    }
    let quantiles: Vec<usize> =
        (0..comparison.metrics.len()).filter(|&at| comparison.metrics[at].quantile.is_some()).collect();
    if !quantiles.is_empty() {
        let loads = 0..comparison.loads.len();
        charts.extend(loads.map(|load| distribution(comparison, load, &quantiles)));
    }
    charts
}

/// One chart for each parameter that varies while the others are the same, or else one with all loads.
fn along_parameters(comparison: &Comparison, metric: usize, of: &Metric) -> Vec<Chart> {
    let mut charts = Vec::new();
    let names: BTreeSet<&str> =
        comparison.loads.iter().flat_map(|load| load.parameters.keys().copied()).collect();
    for name in names {
        let mut seen: Vec<Vec<(&str, f64)>> = Vec::new();
        for load in &comparison.loads {
            let others = others(load, name);
            if !load.parameters.contains_key(name) || seen.contains(&others) {
                continue;
            }
            let mut same: Vec<usize> = (0..comparison.loads.len())
                .filter(|&at| self::others(&comparison.loads[at], name) == others)
                .filter(|&at| comparison.loads[at].parameters.contains_key(name))
                .collect();
            let value = |at: &usize| comparison.loads[*at].parameters[name];
            same.sort_by(|a, b| value(a).total_cmp(&value(b)));
            if same.len() > 1 {
                let places = same.iter().map(|at| format!("{}", value(at))).collect();
                let fixed: Vec<String> =
                    others.iter().map(|(name, value)| format!("{name} {value}")).collect();
                let title = [comparison.title.clone(), of.name.into(), fixed.join(", ")];
                let title = title.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
                charts.push(chart(comparison, metric, &same, title, name.into(), places));
            }
            seen.push(others);
        }
    }
    if charts.is_empty() {
        let all: Vec<usize> = (0..comparison.loads.len()).collect();
        let places = comparison.loads.iter().map(|load| load.name.clone()).collect();
        let title = format!("{}: {}", comparison.title, of.name);
        charts.push(chart(comparison, metric, &all, title, String::new(), places));
    }
    charts
}

/// What a load is made of besides one parameter.
fn others<'a>(load: &Load, name: &'a str) -> Vec<(&'a str, f64)>
where
    'static: 'a,
{
    load.parameters.iter().filter(|(other, _)| **other != name).map(|(name, value)| (*name, *value)).collect()
}

fn chart(
    comparison: &Comparison,
    metric: usize,
    loads: &[usize],
    title: String,
    x: String,
    places: Vec<String>,
) -> Chart {
    let line = |contender: usize| {
        let point =
            |(place, load): (usize, &usize)| Some((place, comparison.summary(*load, contender, metric)?));
        let points = loads.iter().enumerate().filter_map(point).collect();
        Line { name: comparison.contenders[contender].clone(), contender, points }
    };
    let lines = (0..comparison.contenders.len()).map(line).filter(|line| !line.points.is_empty()).collect();
    Chart { title, x, y: comparison.metrics[metric].heading(), places, lines }
}

/// The quantiles of a load, from the middle to the worst.
fn distribution(comparison: &Comparison, load: usize, quantiles: &[usize]) -> Chart {
    let line = |contender: usize| {
        let point =
            |(place, metric): (usize, &usize)| Some((place, comparison.summary(load, contender, *metric)?));
        let points = quantiles.iter().enumerate().filter_map(point).collect();
        Line { name: comparison.contenders[contender].clone(), contender, points }
    };
    let metric = |at: &usize| &comparison.metrics[*at];
    Chart {
        title: format!("{}: {}", comparison.title, comparison.loads[load].name),
        x: "percentile".into(),
        y: metric(&quantiles[0]).unit.into(),
        places: quantiles
            .iter()
            .map(|at| format!("{}", (metric(at).quantile.unwrap_or_default() * 1e5).round() / 1e3))
            .collect(),
        lines: (0..comparison.contenders.len()).map(line).filter(|line| !line.points.is_empty()).collect(),
    }
}

impl Chart {
    pub fn svg(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        self.draw(SVGBackend::with_string(&mut text, SIZE).into_drawing_area())?;
        Ok(text)
    }

    pub fn png(&self, file: &Path) -> anyhow::Result<()> {
        self.draw(BitMapBackend::new(file, SIZE).into_drawing_area())
    }

    fn draw<B: DrawingBackend>(&self, area: DrawingArea<B, Shift>) -> anyhow::Result<()> {
        register_fonts()?;
        // Its errors borrow the backend's buffer.
        self.draw_on(&area).map_err(|error| anyhow!("drawing {:?}: {error}", self.title))
    }

    fn draw_on<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
        let most = self.all().map(|summary| summary.max).fold(f64::MIN_POSITIVE, f64::max);
        let right = self.places.len() as f64 - 0.5;
        let mut context = ChartBuilder::on(&plot)
            .caption(&self.title, (FONT, 17))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(72)
            .build_cartesian_2d(-0.5..right, 0.0..most * 1.08)?;
        let name_of = |x: &f64| {
            let place = x.round();
            let here = (x - place).abs() < 1e-6 && place >= 0.0;
            here.then(|| self.places.get(place as usize).cloned()).flatten().unwrap_or_default()
        };
        context
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(self.places.len() * 2)
            .x_label_formatter(&name_of)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .label_style((FONT, 13))
            .axis_desc_style((FONT, 14))
            .draw()?;
        let count = self.lines.len() as f64;
        for (number, line) in self.lines.iter().enumerate() {
            // Side by side, so that the spreads can be told apart.
            let shift = (number as f64 - (count - 1.0) / 2.0) * 0.4 / count;
            let style = line.style();
            let at = |place: usize| place as f64 + shift;
            let middle = line.points.iter().map(|(place, summary)| (at(*place), summary.median));
            context.draw_series(LineSeries::new(middle.clone(), style))?;
            context.draw_series(middle.map(|point| Circle::new(point, 3, style.filled())))?;
            context.draw_series(line.points.iter().map(|(place, summary)| {
                PathElement::new(
                    vec![(at(*place), summary.min), (at(*place), summary.max)],
                    style.stroke_width(1),
                )
            }))?;
        }
        self.draw_legend(&legend)?;
        area.present()
    }

    fn draw_legend<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        for (number, line) in self.lines.iter().enumerate() {
            let y = 44 + 22 * number as i32;
            area.draw(&PathElement::new(vec![(4, y), (28, y)], line.style()))?;
            area.draw(&Text::new(line.name.as_str(), (34, y - 8), (FONT, 14)))?;
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Summary> {
        self.lines.iter().flat_map(|line| line.points.iter().map(|(_, summary)| summary))
    }
}

impl Line {
    /// A contender has one colour in all charts of its comparison; nbio's own are thick.
    fn style(&self) -> ShapeStyle {
        let width = if self.name.starts_with("nbio") { 4 } else { 2 };
        Palette99::pick(self.contender).stroke_width(width)
    }
}

/// The letters of pictures: a system needn't have any.
fn register_fonts() -> anyhow::Result<()> {
    static ONCE: Once = Once::new();
    let mut done = Ok(());
    ONCE.call_once(|| {
        done = register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
            .map_err(|_| anyhow!("the font can't be read"));
    });
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::tests::example;

    #[test]
    fn a_chart_along_what_varies_and_one_for_each_distribution() {
        let charts = charts(&example());
        let titles: Vec<&str> = charts.iter().map(|chart| chart.title.as_str()).collect();
        assert_eq!(titles, ["Echo: CPU", "Echo: 64 B x 1", "Echo: 64 B x 64", "Echo: 64 B x 512"]);
        assert_eq!((charts[0].x.as_str(), charts[0].places.join(" ")), ("connections", "1 64 512".into()));
        assert_eq!(charts[1].places, ["50", "99"]);
    }

    #[test]
    fn drawn_with_names_and_numbers() {
        let chart = &charts(&example())[0];
        let svg = chart.svg().expect("drawn");
        for text in ["Echo: CPU", "&lt;nbio&gt;", "raw", "512", "connections", "CPU, us"] {
            assert!(svg.contains(text), "{text}");
        }
        let file = std::env::temp_dir().join(format!("nbio-bench-chart-{}.png", std::process::id()));
        chart.png(&file).expect("drawn");
        let picture = std::fs::read(&file).expect("written");
        std::fs::remove_file(&file).expect("removed");
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 5_000);
    }
}
