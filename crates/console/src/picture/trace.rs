//! A trace as a picture of its own: the text as a bar, which of its lines came from where, and from whom that was.
//!
//! A source is told apart by a letter and a pattern, and not by its colour alone. The picture brings its paper, so that it is
//! readable wherever it is shown, and no script.

use marque_engine::{Chain, Trace, TraceClass, TraceSpan};
use maud::{Markup, PreEscaped, html};

use super::{cut, name};

/// The picture of a trace of the text `title`, which has so many lines.
pub fn trace(trace: &Trace, title: &str, lines: usize) -> Markup {
    let cards: Vec<Card<'_>> = trace.chains.iter().take(MOST).map(Card::of).collect();
    let mut below = HEAD;
    let mut tops = Vec::new();
    for card in &cards {
        tops.push(below);
        below += card.height() + GAP;
    }
    let height = below.max(HEAD + BAR_HEIGHT + GAP) + FOOT;
    let lines = lines.max(trace.spans.iter().map(|span| span.to).max().unwrap_or(0)).max(1);
    html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox=(format!("0 0 {WIDTH} {height}")) font-family="system-ui, sans-serif" {
            title { "Where " (title) " came from" }
            style { (PreEscaped(STYLE)) }
            defs { @for n in 0..PATTERNS.len() { (pattern(n)) } }
            rect class="paper" width=(WIDTH) height=(height) {}
            text class="ink" x=(MARGIN) y="28" font-size="16" font-weight="600" { (cut(title)) }
            text class="faint" x=(MARGIN) y="46" font-size="12" { (word(trace.class)) }
            (bar(trace, lines))
            @for (n, (card, top)) in cards.iter().zip(tops).enumerate() {
                (link(trace, n, top, lines))
                (card.draw(n, top))
            }
            (foot(trace, height))
        }
    }
}

/// The text, from its first line at the top to its last.
fn bar(trace: &Trace, lines: usize) -> Markup {
    let spans = trace.spans.iter().filter(|span| span.chain < MOST);
    html! {
        rect class="blank" x=(BAR_X) y=(HEAD) width=(BAR_WIDTH) height=(BAR_HEIGHT) rx="3" {}
        text class="faint" x=(BAR_X - 8) y=(HEAD + 10) font-size="11" text-anchor="end" { "1" }
        text class="faint" x=(BAR_X - 8) y=(HEAD + BAR_HEIGHT) font-size="11" text-anchor="end" { (lines) }
        @for span in spans {
            @let (y, height) = place(span, lines);
            rect class=(format!("c{}", span.chain % PATTERNS.len())) x=(BAR_X) y=(y) width=(BAR_WIDTH) height=(height) {
                title { "lines " (span.from) "–" (span.to) " from " (letter(span.chain)) }
            }
            rect x=(BAR_X) y=(y) width=(BAR_WIDTH) height=(height) fill=(format!("url(#p{})", span.chain % PATTERNS.len())) {}
            @if height >= 14 {
                text class="paper" x=(BAR_X + BAR_WIDTH / 2) y=(y + height / 2 + 4) font-size="12" font-weight="700" text-anchor="middle" { (letter(span.chain)) }
            }
        }
    }
}

/// From the parts of the text to the card of their source.
fn link(trace: &Trace, chain: usize, card: usize, lines: usize) -> Markup {
    let spans = trace.spans.iter().filter(|span| span.chain == chain).take(MOST_LINKS);
    let (from, to) = (BAR_X + BAR_WIDTH, CARD_X);
    html! {
        @for span in spans {
            @let (y, height) = place(span, lines);
            path class="line" fill="none" d=(format!("M {from} {} C {} {} {} {} {to} {}", y + height / 2, from + 40, y + height / 2, to - 40, card + 18, card + 18)) {}
        }
    }
}

/// Where lines stand in the bar: its top and its height.
fn place(span: &TraceSpan, lines: usize) -> (usize, usize) {
    let at = |line: usize| HEAD + line.min(lines).saturating_mul(BAR_HEIGHT) / lines;
    let top = at(span.from.saturating_sub(1));
    (top, at(span.to).saturating_sub(top).max(3))
}

/// A source, and what it was made from.
struct Card<'a> {
    chain: &'a Chain,
    above: Vec<(usize, &'a Chain)>,
}

impl<'a> Card<'a> {
    fn of(chain: &'a Chain) -> Self {
        let mut above = Vec::new();
        gather(chain, 0, &mut above);
        above.truncate(MOST_ABOVE);
        Self { chain, above }
    }

    fn height(&self) -> usize {
        CARD + self.above.len() * ROW
    }

    fn draw(&self, n: usize, y: usize) -> Markup {
        let found = self.chain.found.as_ref().map_or(TraceClass::None, |found| found.class);
        html! {
            rect class=(format!("c{}", n % PATTERNS.len())) x=(CARD_X) y=(y) width="28" height="28" rx="3" {}
            rect x=(CARD_X) y=(y) width="28" height="28" rx="3" fill=(format!("url(#p{})", n % PATTERNS.len())) {}
            text class="paper" x=(CARD_X + 14) y=(y + 19) font-size="14" font-weight="700" text-anchor="middle" { (letter(n)) }
            text class="ink" x=(TEXT_X) y=(y + 12) font-size="13" font-weight="600" { (cut(&deed(self.chain))) }
            text class="faint" x=(TEXT_X) y=(y + 28) font-size="11" { (name(self.chain)) " · " (word(found)) " · " (self.chain.at.to_string()) }
            text class="ink" x=(TEXT_X) y=(y + 46) font-size="12" { (cut(&actors(self.chain))) }
            text class="faint" x=(TEXT_X) y=(y + 62) font-size="11" { (cut(&purpose(self.chain))) }
            @for (row, (depth, above)) in self.above.iter().enumerate() {
                @let at = y + CARD + row * ROW;
                @let x = TEXT_X + depth * 18;
                path class="line" fill="none" d=(format!("M {} {} V {} H {}", x + 4, at - 8, at + 6, x + 14)) {}
                text class="ink" x=(x + 18) y=(at + 10) font-size="11" { "from " (cut(&deed(above))) }
                text class="faint" x=(x + 18) y=(at + 24) font-size="11" { (name(above)) " · " (cut(&actors(above))) }
            }
        }
    }
}

fn gather<'a>(chain: &'a Chain, depth: usize, out: &mut Vec<(usize, &'a Chain)>) {
    for above in &chain.upstream {
        out.push((depth, above));
        gather(above, depth + 1, out);
    }
}

/// What the trace does not say, and what it covers.
fn foot(trace: &Trace, height: usize) -> Markup {
    let more = trace.chains.len().saturating_sub(MOST);
    let mut head = trace.checkpoint.lines();
    let (origin, size) = (head.next().unwrap_or_default(), head.next().unwrap_or_default());
    html! {
        @if more > 0 {
            text class="faint" x=(CARD_X) y=(height - 40) font-size="11" { "and " (more) " more" }
        }
        text class="faint" x=(MARGIN) y=(height - 14) font-size="11" {
            (trace.covers) " entries searched" @if trace.digest_only { " for its digest alone" } "; checkpoint of " (origin) " at size " (size)
            @if !trace.hints.is_empty() { "; " (trace.hints.len()) " more resemble it, which is no attribution" }
            @if !trace.input_of.is_empty() { "; an input of " (trace.input_of.len()) " attested" }
        }
    }
}

fn deed(chain: &Chain) -> String {
    match (&chain.decided, &chain.artifact) {
        (Some(decided), _) => format!("{} {}", decided.action, decided.resource),
        (None, Some(artifact)) if !chain.missing.is_empty() => {
            format!("artifact {}, with {} inputs that are not on record", artifact.name, chain.missing.len())
        }
        (None, Some(artifact)) => format!("artifact {}", artifact.name),
        (None, None) => format!("entry {}", chain.entry),
    }
}

/// From the identity that acted to the person who asked.
fn actors(chain: &Chain) -> String {
    let mut names: Vec<String> = Vec::new();
    for step in &chain.tasks {
        let actor = step.task.actor.short().to_owned();
        if names.last() != Some(&actor) {
            names.push(actor);
        }
    }
    names.extend(chain.tasks.last().map(|first| first.task.principal.name().to_owned()));
    names.join(" ← ")
}

fn purpose(chain: &Chain) -> String {
    chain.tasks.first().map(|own| format!("{}: {}", own.task.id, own.task.purpose)).unwrap_or_default()
}

fn word(class: TraceClass) -> &'static str {
    match class {
        TraceClass::Exact => "the same bytes",
        TraceClass::Normalised => "the same letters and digits",
        TraceClass::Strong => "parts of it",
        TraceClass::Weak => "resembles, which is no attribution",
        TraceClass::None => "not found",
    }
}

/// A to H.
fn letter(chain: usize) -> char {
    u8::try_from(chain).ok().and_then(|n| b'A'.checked_add(n)).map_or('?', char::from)
}

fn pattern(n: usize) -> Markup {
    let d = PATTERNS.get(n).copied().unwrap_or_default();
    html! {
        pattern id=(format!("p{n}")) width="8" height="8" patternUnits="userSpaceOnUse" {
            path class="mark" fill="none" d=(d) {}
        }
    }
}

/// Plain, diagonals, lines, columns, grid, points, crosses, steps.
const PATTERNS: [&str; 8] = [
    "M 0 0",
    "M -2 2 L 2 -2 M 0 8 L 8 0 M 6 10 L 10 6",
    "M 0 4 H 8",
    "M 4 0 V 8",
    "M 0 4 H 8 M 4 0 V 8",
    "M 3 4 H 5",
    "M 2 2 L 6 6 M 6 2 L 2 6",
    "M 0 6 H 4 V 2 H 8",
];

/// Colours that are told apart with most kinds of colour blindness (Okabe and Ito), darkened or lightened for the paper.
const STYLE: &str = "\
.paper{fill:#ffffff}.ink{fill:#1f2328}.faint{fill:#59636e}.blank{fill:#eaeef2}.line{stroke:#818b98;stroke-width:1.2}\
.mark{stroke:#ffffff;stroke-opacity:.45;stroke-width:1.4}\
.c0{fill:#0072b2}.c1{fill:#b04a00}.c2{fill:#00775a}.c3{fill:#9c4f80}.c4{fill:#8a6d00}.c5{fill:#2f6f9f}.c6{fill:#a33b2b}.c7{fill:#4d4d4d}\
@media (prefers-color-scheme:dark){\
.paper{fill:#0d1117}.ink{fill:#e6edf3}.faint{fill:#9198a1}.blank{fill:#21262d}.line{stroke:#656c76}.mark{stroke:#0d1117}\
.c0{fill:#56b4e9}.c1{fill:#ffa657}.c2{fill:#3fd6a6}.c3{fill:#e29bc6}.c4{fill:#f0e442}.c5{fill:#9ecbff}.c6{fill:#ff9b8a}.c7{fill:#c0c0c0}}";

const WIDTH: usize = 960;
const MARGIN: usize = 24;
const HEAD: usize = 68;
const FOOT: usize = 48;
const GAP: usize = 18;
const BAR_X: usize = 72;
const BAR_WIDTH: usize = 56;
const BAR_HEIGHT: usize = 320;
const CARD_X: usize = 220;
const TEXT_X: usize = 262;
const CARD: usize = 72;
const ROW: usize = 34;
/// How many sources are drawn; there is a pattern for each.
const MOST: usize = PATTERNS.len();
/// How many records above one.
const MOST_ABOVE: usize = 6;
const MOST_LINKS: usize = 24;

#[cfg(test)]
mod tests {
    use marque_core::Digest;

    use super::*;

    fn empty() -> Trace {
        Trace {
            digest: Digest::from_bytes([7; 32]),
            class: TraceClass::None,
            covers: 52,
            pruned: 0,
            complete: true,
            digest_only: false,
            chains: Vec::new(),
            spans: Vec::new(),
            hints: Vec::new(),
            receipts: Vec::new(),
            input_of: Vec::new(),
            checkpoint: "example.org/marque/log\n52\nAAAA\n".into(),
        }
    }

    #[test]
    fn a_negative_answer_says_what_it_covers() {
        let svg = trace(&empty(), "a <b> & c", 3).into_string();
        for words in ["not found", "52 entries searched; checkpoint of example.org/marque/log at size 52", "a &lt;b&gt; &amp; c"]
        {
            assert!(svg.contains(words), "{words}: {svg}");
        }
        assert!(!svg.contains("<script") && !svg.contains("href"));
    }

    #[test]
    fn parts_stand_where_their_lines_are() {
        let span = |from, to| TraceSpan { from, to, chain: 0, class: TraceClass::Strong };
        assert_eq!(place(&span(1, 10), 10), (HEAD, BAR_HEIGHT));
        assert_eq!(place(&span(6, 10), 10), (HEAD + BAR_HEIGHT / 2, BAR_HEIGHT / 2));
        assert_eq!(place(&span(500, 500), 1000).1, 3, "what is small is still seen");
        let found = Trace { spans: vec![span(1, 10), span(21, 30)], ..empty() };
        let svg = trace(&found, "report.md", 40).into_string();
        assert!(svg.contains("lines 21–30 from A") && svg.contains("url(#p0)"), "{svg}");
    }

    #[test]
    fn every_source_has_a_letter_and_a_pattern() {
        assert_eq!((letter(0), letter(7), MOST), ('A', 'H', 8));
        let mut patterns = PATTERNS.to_vec();
        patterns.dedup();
        assert_eq!(patterns.len(), MOST);
    }
}
