//! Pictures of runs: a small writer of SVG, two panels over one axis of time.
//!
//! Read [`picture`]. Numbers are rounded to a tenth of a pixel, so that the same run gives the same file.

/// A curve.
pub(crate) struct Panel {
    /// What is drawn, with its unit.
    pub(crate) title: String,
    /// Time in seconds, and the value from then on.
    pub(crate) points: Vec<(f64, f64)>,
    /// True if the value stays until the next point, false if it is drawn as a line.
    pub(crate) steps: bool,
}

const WIDTH: f64 = 720.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const GAP: f64 = 34.0;
const BOTTOM: f64 = 40.0;

/// An SVG of `panels` over seconds, with a dashed line at `mark`, which `legend` explains.
pub(crate) fn picture(title: &str, panels: &[Panel], mark: f64, legend: &str) -> String {
    let times = panels
        .iter()
        .flat_map(|panel| &panel.points)
        .map(|(at, _)| *at);
    let end = times.fold(mark, f64::max).max(1e-3) * 1.02;
    let height = TOP + BOTTOM + PANEL * panels.len() as f64 + GAP * (panels.len() as f64 - 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(
        &mut svg,
        (LEFT, 16.0),
        "start",
        &format!("<tspan font-size=\"13\">{}</tspan>", escape(title)),
    );
    let x = |at: f64| LEFT + at / end * (WIDTH - LEFT - RIGHT);
    let bottom = height - BOTTOM;
    for at in ticks(end, 8) {
        line(&mut svg, (x(at), TOP), (x(at), bottom), "#e4e4e4");
        text(&mut svg, (x(at), bottom + 14.0), "middle", &number(at));
    }
    for (n, panel) in panels.iter().enumerate() {
        let top = TOP + n as f64 * (PANEL + GAP);
        draw(&mut svg, panel, top, &x);
    }
    text(&mut svg, (WIDTH - RIGHT, bottom + 30.0), "end", "seconds");
    svg.push_str(&format!(
        "<line x1=\"{0:.1}\" y1=\"{TOP}\" x2=\"{0:.1}\" y2=\"{bottom:.1}\" stroke=\"#c03030\" stroke-dasharray=\"4 3\"/>\n",
        x(mark)
    ));
    text(
        &mut svg,
        (LEFT, bottom + 30.0),
        "start",
        &format!("dashed: {}", escape(legend)),
    );
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, panel: &Panel, top: f64, x: &dyn Fn(f64) -> f64) {
    let most = panel
        .points
        .iter()
        .map(|(_, value)| *value)
        .fold(0.0, f64::max)
        .max(1e-9)
        * 1.08;
    let y = |value: f64| top + PANEL * (1.0 - value / most);
    for value in ticks(most, 4) {
        line(svg, (LEFT, y(value)), (WIDTH - RIGHT, y(value)), "#e4e4e4");
        text(svg, (LEFT - 6.0, y(value) + 4.0), "end", &number(value));
    }
    line(svg, (LEFT, top), (LEFT, top + PANEL), "#808080");
    line(
        svg,
        (LEFT, top + PANEL),
        (WIDTH - RIGHT, top + PANEL),
        "#808080",
    );
    text(svg, (LEFT, top - 6.0), "start", &escape(&panel.title));
    let mut path = String::new();
    let mut last = None;
    for (at, value) in &panel.points {
        if let Some(last) = last.filter(|_| panel.steps) {
            path.push_str(&format!("{:.1},{:.1} ", x(*at), y(last)));
        }
        path.push_str(&format!("{:.1},{:.1} ", x(*at), y(*value)));
        last = Some(*value);
    }
    svg.push_str(&format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#2060a0\" stroke-width=\"1.3\"/>\n",
        path.trim_end()
    ));
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    svg.push_str(&format!(
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>\n",
        from.0, from.1, to.0, to.1
    ));
}

/// `words` is markup already.
fn text(svg: &mut String, at: (f64, f64), anchor: &str, words: &str) {
    svg.push_str(&format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#303030\">{words}</text>\n",
        at.0, at.1
    ));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Round numbers from 0 to `end`, about `n` of them.
fn ticks(end: f64, n: u32) -> Vec<f64> {
    let rough = end / f64::from(n);
    let magnitude = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .iter()
        .map(|f| f * magnitude)
        .find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    (0..)
        .map(|i| f64::from(i) * step)
        .take_while(|at| *at <= end)
        .collect()
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_stay_inside() {
        assert_eq!(ticks(10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(0.7, 4), [0.0, 0.2, 0.4, 0.6000000000000001]);
        assert_eq!(number(0.6000000000000001), "0.6");
        assert_eq!(number(250.0), "250");
    }

    #[test]
    fn a_picture_holds_its_curves_and_escapes_its_words() {
        let panel = Panel {
            title: "a < b".into(),
            points: vec![(0.0, 0.0), (1.0, 5.0), (2.0, 5.0)],
            steps: true,
        };
        let svg = picture("x & y", &[panel], 1.5, "ideal");
        assert!(svg.contains("x &amp; y") && svg.contains("a &lt; b"));
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
