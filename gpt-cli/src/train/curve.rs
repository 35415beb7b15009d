//! Draws `loss.svg`: training and validation loss over the steps.

use std::path::Path;

use gpt_runtime::__private::files;
use gpt_runtime::Error;
use plotters::prelude::*;

use super::log::Line;

const SIZE: (u32, u32) = (900, 540);
const TRAIN: RGBColor = RGBColor(120, 150, 190);
const VALIDATION: RGBColor = RGBColor(200, 60, 40);

/// Draws the lines of a log, if there are at least two.
pub fn draw(path: &Path, title: &str, lines: &[Line]) -> Result<(), Error> {
    let train: Vec<(f64, f64)> = lines.iter().map(|l| (l.step as f64, l.loss)).collect();
    let validation: Vec<(f64, f64)> =
        lines.iter().filter_map(|l| Some((l.step as f64, l.val_loss?))).collect();
    if train.len() < 2 {
        return Ok(());
    }
    let mut svg = String::new();
    chart(&mut svg, title, &train, &validation).expect("drawing into a string does not fail");
    files::write(path, &svg)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn chart(svg: &mut String, title: &str, train: &[(f64, f64)], validation: &[(f64, f64)]) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let losses = train.iter().chain(validation).map(|(_, loss)| *loss);
    let (low, high) =
        losses.fold((f64::MAX, f64::MIN), |(low, high), loss| (low.min(loss), high.max(loss)));
    let margin = 0.05 * (high - low).max(1e-3);
    let last = train[train.len() - 1].0;
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
        .y_label_formatter(&|y| format!("{y:.2}"))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .draw()?;
    let legend = |color: RGBColor| {
        move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3))
    };
    chart
        .draw_series(LineSeries::new(train.iter().copied(), TRAIN.stroke_width(1)))?
        .label("training")
        .legend(legend(TRAIN));
    if !validation.is_empty() {
        chart
            .draw_series(LineSeries::new(validation.iter().copied(), VALIDATION.stroke_width(2)))?
            .label("validation")
            .legend(legend(VALIDATION));
        let dots = validation.iter().map(|at| Circle::new(*at, 3, VALIDATION.filled()));
        chart.draw_series(dots)?;
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
