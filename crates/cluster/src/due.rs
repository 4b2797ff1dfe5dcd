/// Whether `span` seconds have passed since a moment.
///
/// Wall clocks are set back: a span that then would last longer than its double has passed, too.
pub(crate) fn due(since: f64, span: f64, now: f64) -> bool {
    now >= since + span || now <= since - span
}
