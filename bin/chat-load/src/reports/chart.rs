//! Line charts as inline SVG: lines, a grid and a legend, styled by the page that holds them.

use std::fmt::Write;

use crate::reports::markup::escape;

/// Lines over a common x axis.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

/// What is plotted in one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) scale: Scale,
    /// A value with its unit.
    pub(crate) format: fn(f64) -> String,
    /// A linear one reaches at least up to here, whatever there is to plot.
    pub(crate) reaches: f64,
}

impl Axis {
    /// One that ends where the values do.
    pub(crate) fn new(scale: Scale, format: fn(f64) -> String) -> Self {
        Self { scale, format, reaches: 0.0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// From zero.
    Linear,
    /// By powers of ten; what is not above zero is left out.
    Logarithmic,
    /// Quantiles below 1, each further nine as wide as the one before.
    Nines,
}

/// One line. A value that is not a number is a gap.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Chart {
    /// The whole `<svg>`, or nothing when there is nothing to plot.
    pub(crate) fn to_svg(&self) -> Option<String> {
        let x = Span::over(self.x, self.values(|point| point.0))?;
        let y = Span::over(self.y, self.values(|point| point.1))?;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(self.title)
        );
        draw_grid(&mut svg, &x, &y);
        for (nth, line) in self.lines.iter().enumerate() {
            draw_line(&mut svg, nth % COLOURS, line, &x, &y);
        }
        self.draw_legend(&mut svg);
        svg.push_str("</svg>\n");
        Some(svg)
    }

    fn values(&self, of: fn(&(f64, f64)) -> f64) -> impl Iterator<Item = f64> + '_ {
        self.lines.iter().flat_map(|line| &line.points).map(of)
    }

    fn draw_legend(&self, svg: &mut String) {
        let mut left = LEFT;
        for (nth, line) in self.lines.iter().enumerate() {
            let (name, nth) = (escape(&line.name), nth % COLOURS);
            put(
                svg,
                format_args!(
                    "<line class=\"s{nth}\" x1=\"{left}\" y1=\"10\" x2=\"{}\" y2=\"10\"/>\
                 <text x=\"{}\" y=\"14\">{name}</text>\n",
                    left + 18.0,
                    left + 24.0
                ),
            );
            left += 36.0 + 7.0 * width(&line.name);
        }
    }
}

/// An axis with its bounds, in the scale's own measure.
#[derive(Debug)]
struct Span {
    axis: Axis,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Span {
    fn over(axis: Axis, values: impl Iterator<Item = f64>) -> Option<Self> {
        let measures = values.map(|value| axis.scale.measure(value)).filter(|m| m.is_finite());
        let (low, high) = measures
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), m| (low.min(m), high.max(m)));
        if low > high {
            return None;
        }
        let (from, to, ticks) = match axis.scale {
            Scale::Linear => linear(high.max(axis.reaches)),
            Scale::Logarithmic => logarithmic(low, high),
            Scale::Nines => nines(high),
        };
        Some(Self { axis, from, to, ticks })
    }

    /// Where a value lies between the ends, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        (self.axis.scale.measure(value) - self.from) / (self.to - self.from)
    }

    fn label(&self, tick: f64) -> String {
        escape(&(self.axis.format)(tick))
    }
}

impl Scale {
    fn measure(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic if value > 0.0 => value.log10(),
            Self::Nines if value < 1.0 => -(1.0 - value).log10(),
            Self::Logarithmic | Self::Nines => f64::NAN,
        }
    }
}

/// About five steps of 1, 2 or 5 times a power of ten.
fn linear(high: f64) -> (f64, f64, Vec<f64>) {
    let high = if high > 0.0 { high } else { 1.0 };
    let power = 10_f64.powf((high / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| high / step <= 6.0)
        .unwrap_or(high);
    let steps = (high / step - 1e-9).ceil();
    (0.0, steps * step, up_to(steps).map(|nth| nth * step).collect())
}

/// Whole powers of ten, with 2 and 5 between them while there are few.
fn logarithmic(low: f64, high: f64) -> (f64, f64, Vec<f64>) {
    let between: &[f64] = if high - low < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = up_to(high.ceil() - low.floor()).map(|nth| 10_f64.powf(low.floor() + nth));
    let all: Vec<_> = powers.flat_map(|power| between.iter().map(move |f| f * power)).collect();
    let first = all.iter().rposition(|tick| tick.log10() <= low + 1e-9).unwrap_or(0);
    let last = all.iter().position(|tick| tick.log10() >= high - 1e-9).unwrap_or(all.len() - 1);
    let last = last.max(first + 1).min(all.len() - 1);
    let ticks = all.get(first..=last).unwrap_or_default().to_vec();
    let end = |tick: Option<&f64>, otherwise: f64| tick.map_or(otherwise, |tick| tick.log10());
    (end(ticks.first(), low), end(ticks.last(), high), ticks)
}

/// 0, 0.9, 0.99 and so on.
fn nines(high: f64) -> (f64, f64, Vec<f64>) {
    let steps = high.ceil().max(1.0);
    (0.0, steps, up_to(steps).map(|nines| 1.0 - 10_f64.powf(-nines)).collect())
}

/// 0, 1, 2 and so on, the end included.
fn up_to(end: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(0.0), |nth| Some(nth + 1.0)).take_while(move |nth| *nth <= end + 0.5)
}

fn draw_grid(svg: &mut String, x: &Span, y: &Span) {
    for &tick in &y.ticks {
        let at = down(y.place(tick));
        put(
            svg,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0,
                y.label(tick)
            ),
        );
    }
    for &tick in &x.ticks {
        let at = across(x.place(tick));
        put(
            svg,
            format_args!(
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\"/>\
             <text class=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>\n",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 16.0,
                x.label(tick)
            ),
        );
    }
}

fn draw_line(svg: &mut String, nth: usize, line: &Line, x: &Span, y: &Span) {
    let mut path = String::new();
    let mut marks = String::new();
    let mut is_drawing = false;
    for &(at, value) in &line.points {
        let (left, top) = (across(x.place(at)), down(y.place(value)));
        if !(left.is_finite() && top.is_finite()) {
            is_drawing = false;
            continue;
        }
        put(&mut path, format_args!("{}{left:.1} {top:.1}", if is_drawing { "L" } else { "M" }));
        is_drawing = true;
        if line.points.len() <= MOST_MARKS {
            let name = escape(&line.name);
            put(
                &mut marks,
                format_args!(
                    "<circle class=\"s{nth}\" cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"2.5\">\
                 <title>{name}: {} at {}</title></circle>\n",
                    y.label(value),
                    x.label(at)
                ),
            );
        }
    }
    put(svg, format_args!("<path class=\"s{nth}\" d=\"{path}\"/>\n{marks}"));
}

fn across(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn down(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

/// In letters; names are short.
fn width(name: &str) -> f64 {
    f64::from(u16::try_from(name.chars().count()).unwrap_or(u16::MAX))
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = svg.write_fmt(text);
}

/// In units of the view box, about pixels.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 34.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 26.0;
/// More dots than this hide the line.
const MOST_MARKS: usize = 120;
/// That the page's style has; further lines begin anew. As many as a chart has lines at most: one for each kind of
/// operation, one for all, for what was due, and for what was refused.
const COLOURS: usize = 9;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn chart(scale: Scale, points: &[(f64, f64)]) -> Chart {
        let format = |value: f64| format!("{value:.4}");
        Chart {
            title: "A & B",
            x: Axis::new(Scale::Linear, format),
            y: Axis::new(scale, format),
            lines: vec![Line { name: "<p50>".to_owned(), points: points.to_vec() }],
        }
    }

    #[test]
    fn an_axis_ends_on_a_round_value_above_the_highest() {
        let ends = [0.0, 0.7, 5.0, 42.0, 99_000.0].map(|high| linear(high).1);
        assert_eq!(ends, [1.0, 0.8, 5.0, 50.0, 100_000.0]);
        let (_, end, ticks) = linear(42.0);
        assert_eq!((end, ticks), (50.0, vec![0.0, 10.0, 20.0, 30.0, 40.0, 50.0]));
    }

    #[test]
    fn a_logarithmic_axis_encloses_its_values() {
        for (low, high) in [(1.0, 1.0), (87.0, 93.0), (0.5, 20_000.0), (100.0, 1000.0)] {
            let (from, to, ticks) = logarithmic(f64::log10(low), f64::log10(high));
            assert!(
                from <= low.log10() + 1e-9 && to >= high.log10() - 1e-9,
                "{low} {high} {ticks:?}"
            );
            assert!((2..10).contains(&ticks.len()) && from < to, "{low} {high} {ticks:?}");
        }
    }

    #[test]
    fn nines_are_as_wide_as_each_other() {
        let places = [0.0, 0.9, 0.99, 0.999].map(|quantile| Scale::Nines.measure(quantile));
        assert!(places.iter().zip([0.0, 1.0, 2.0, 3.0]).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn points_lie_where_they_belong_and_gaps_stay_open() {
        let points = [(0.0, 0.0), (1.0, 10.0), (2.0, f64::NAN), (3.0, 5.0), (4.0, 10.0)];
        let svg = chart(Scale::Linear, &points).to_svg().unwrap();
        let (bottom, top) = (HEIGHT - BOTTOM, TOP);
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let path = format!("d=\"M{left:.1} {bottom:.1}L");
        assert!(svg.contains(&path), "{svg}");
        assert!(svg.contains(&format!("L{right:.1} {top:.1}\"/>")), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 4);
        assert_eq!(
            svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap().matches('M').count(),
            2
        );
    }

    #[test]
    fn the_page_has_a_colour_for_each_line_in_light_and_in_dark() {
        let style = include_str!("report.css");
        let (light, dark) = style.split_once("@media (prefers-color-scheme: dark)").unwrap();
        let (dark, rules) = dark.split_once("} }").unwrap();
        for scheme in [light, dark] {
            let colour = |nth| {
                let value = scheme.split_once(&format!("--s{nth}: ")).unwrap().1;
                value.split_once(';').unwrap().0
            };
            let colours: HashSet<_> = (0..COLOURS).map(colour).collect();
            assert_eq!(colours.len(), COLOURS, "{colours:?}");
        }
        for nth in 0..COLOURS {
            assert!(rules.contains(&format!(".s{nth} {{ stroke: var(--s{nth}); }}")), "{nth}");
        }
    }

    #[test]
    fn names_are_escaped() {
        let svg = chart(Scale::Linear, &[(0.0, 1.0)]).to_svg().unwrap();
        assert!(svg.contains("A &amp; B") && svg.contains("&lt;p50&gt;") && !svg.contains("<p50>"));
    }

    #[test]
    fn nothing_to_plot_is_no_chart() {
        assert!(chart(Scale::Linear, &[]).to_svg().is_none());
        assert!(chart(Scale::Linear, &[(1.0, f64::NAN)]).to_svg().is_none());
        assert!(chart(Scale::Logarithmic, &[(1.0, 0.0)]).to_svg().is_none());
    }
}
