//! Draws losses over the steps: those of one run (`loss.svg`), or those of several (`gpt plot`).

use std::path::Path;

use gpt_runtime::__private::files;
use gpt_runtime::Error;
use plotters::prelude::*;

use super::log::Line;

const SIZE: (u32, u32) = (900, 540);
const TRAIN: RGBColor = RGBColor(120, 150, 190);
const VALIDATION: RGBColor = RGBColor(200, 60, 40);

/// The colours of runs: Okabe and Ito's, which colour-blind readers can tell apart, without the
/// yellow, which is too light for a line on white; black and a brown are added.
const RUNS: [RGBColor; MOST_RUNS] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 70, 30),
];

/// The most runs in one picture. More colours are hard to tell apart.
pub const MOST_RUNS: usize = 8;

/// The points of a curve, and how it is drawn.
struct Curve {
    points: Vec<(f64, f64)>,
    style: ShapeStyle,
    /// Whether each point is a dot, too.
    dots: bool,
    label: Option<String>,
}

/// A run in a picture of several.
pub struct Run<'a> {
    pub name: &'a str,
    pub lines: &'a [Line],
}

/// Draws the lines of a log, if there are at least two.
pub fn draw(path: &Path, title: &str, lines: &[Line]) -> Result<(), Error> {
    if lines.len() < 2 {
        return Ok(());
    }
    let train = Curve {
        points: training(lines),
        style: TRAIN.stroke_width(1),
        dots: false,
        label: Some("training".to_owned()),
    };
    let validation = Curve {
        points: validation(lines),
        style: VALIDATION.stroke_width(2),
        dots: true,
        label: Some("validation".to_owned()),
    };
    let has_points = |curve: &Curve| !curve.points.is_empty();
    let curves: Vec<Curve> = [train, validation].into_iter().filter(has_points).collect();
    write(path, title, &curves)
}

/// Draws several runs, at most [`MOST_RUNS`], each with at least one line. A run has one colour:
/// its validation is a thick line with dots, its training a thin, pale line. The legend has the
/// names of the runs.
pub fn compare(path: &Path, runs: &[Run<'_>]) -> Result<(), Error> {
    let training = runs.iter().zip(RUNS).map(|(run, color)| {
        let points = training(run.lines);
        // One point is no line.
        let dots = points.len() == 1;
        Curve { points, style: color.mix(0.45).stroke_width(1), dots, label: None }
    });
    // Without validations, such a curve only gives the run its place in the legend.
    let validation = runs.iter().zip(RUNS).map(|(run, color)| Curve {
        points: validation(run.lines),
        style: color.stroke_width(2),
        dots: true,
        label: Some(readable(run.name)),
    });
    // Training is drawn first, so that it covers no validation.
    let curves: Vec<Curve> = training.chain(validation).collect();
    write(path, "validation (thick) and training (thin)", &curves)
}

/// A name without characters that XML forbids.
fn readable(name: &str) -> String {
    let shown =
        |c: char| if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) { '?' } else { c };
    name.chars().map(shown).collect()
}

fn training(lines: &[Line]) -> Vec<(f64, f64)> {
    lines.iter().map(|line| (line.step as f64, line.loss)).collect()
}

fn validation(lines: &[Line]) -> Vec<(f64, f64)> {
    lines.iter().filter_map(|line| Some((line.step as f64, line.val_loss?))).collect()
}

fn write(path: &Path, title: &str, curves: &[Curve]) -> Result<(), Error> {
    let mut svg = String::new();
    chart(&mut svg, title, curves).expect("drawing into a string does not fail");
    files::write(path, &svg)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn chart(svg: &mut String, title: &str, curves: &[Curve]) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (low, high) =
        points().fold((f64::MAX, f64::MIN), |(low, high), (_, y)| (low.min(*y), high.max(*y)));
    // Rounding could make a narrower range empty, and its axis would have no labels.
    let margin = (0.05 * (high - low).max(1e-3)).max(1e-6 * high.abs());
    let last = points().fold(1.0, |last: f64, (step, _)| last.max(*step));
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption(title, ("sans-serif", 22))
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, (low - margin).max(0.0)..high + margin)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc("loss (nats per token)")
        .axis_desc_style(("sans-serif", 17))
        .label_style(("sans-serif", 14))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| if *y < 1e4 { format!("{y:.2}") } else { format!("{y:.1e}") })
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .draw()?;
    for curve in curves {
        let style = curve.style;
        let drawn = chart.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
        if let Some(label) = &curve.label {
            drawn.label(label).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 24, y)], style.stroke_width(3))
            });
        }
        if curve.dots {
            let dots = curve.points.iter().map(|at| Circle::new(*at, 3, style.filled()));
            chart.draw_series(dots)?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 16))
        .legend_area_size(32)
        .margin(10)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}
