//! `.watermark(…)`, `.allowed_lateness(…)`, and the `window:` block that gives their defaults.

use crate::connector::spec::{Watermark, WatermarkStrategy};
use crate::data::Type;
use crate::data::time::NS_PER_S;
use crate::diagnostic::{Diagnostic, codes};
use crate::sema::arguments::{Arguments, Constants, Options, Takes};
use crate::sema::globals::Globals;
use crate::sema::hir::WatermarkChange;
use crate::sema::ops::Chain;
use crate::syntax::ast::{self, ExprKind, StreamOp};

/// How long a silent partition of a live source holds the others, unless the program says.
const IDLE_DEFAULT_NS: i64 = 30 * NS_PER_S;

const STRATEGIES: [(&str, Strategy); 3] = [
    ("bounded_out_of_orderness", Strategy::Bounded),
    ("ascending", Strategy::Ascending),
    ("processing_time", Strategy::ProcessingTime),
];

#[derive(Clone, Copy, PartialEq)]
enum Strategy {
    Bounded,
    Ascending,
    ProcessingTime,
}

/// What streams have that say nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    pub watermark: Watermark,
    pub lateness_ns: Option<i64>,
}

impl Default for Defaults {
    fn default() -> Defaults {
        let strategy = WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns: 0 };
        let watermark = Watermark { strategy, idle_ns: IDLE_DEFAULT_NS, max_ahead_ns: None };
        Defaults { watermark, lateness_ns: None }
    }
}

/// Reads the `window:` blocks of the program.
pub fn read_defaults(globals: &Globals<'_>, findings: &mut Vec<Diagnostic>) -> Defaults {
    let known = ["allowed_lateness", "watermark_strategy", "out_of_order", "idle", "max_ahead"];
    let mut defaults = Defaults::default();
    let written = globals.window_options.iter().copied().flatten();
    let given = Options::read("`window:`", written, &known, &[], findings);
    let get = |name: &str| given.get(name);
    let mut constants = Constants { globals, findings };
    if let Some(e) = get("allowed_lateness") {
        defaults.lateness_ns = constants.duration_or_zero(e, "`allowed_lateness`");
    }
    let strategy = get("watermark_strategy");
    change_watermark(
        &mut defaults.watermark,
        strategy,
        get("out_of_order"),
        get("idle"),
        get("max_ahead"),
        &mut constants,
    );
    defaults
}

/// Changes of a watermark what is given; `None` when something given is wrong.
fn change_watermark(
    watermark: &mut Watermark,
    strategy: Option<&ast::Expr>,
    out_of_order: Option<&ast::Expr>,
    idle: Option<&ast::Expr>,
    max_ahead: Option<&ast::Expr>,
    constants: &mut Constants<'_, '_>,
) -> Option<()> {
    let strategy = match strategy {
        Some(e) => Some((constants.word(e, "the watermark strategy", &STRATEGIES)?, e.span)),
        None => None,
    };
    match (strategy, out_of_order) {
        (Some((Strategy::ProcessingTime, _)), None) => watermark.strategy = WatermarkStrategy::ProcessingTime,
        (Some((Strategy::Ascending, _)), None) => {
            watermark.strategy = WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns: 0 };
        }
        (Some((Strategy::ProcessingTime | Strategy::Ascending, _)), Some(e)) => {
            let message = "`out_of_order` goes with the strategy \"bounded_out_of_orderness\" only";
            constants.findings.push(Diagnostic::error(codes::BAD_OPTION, e.span, message));
            return None;
        }
        (Some((Strategy::Bounded, _)) | None, Some(e)) if is_word(e, "unbounded") => {
            watermark.strategy = WatermarkStrategy::AtEnd;
        }
        (Some((Strategy::Bounded, _)) | None, Some(e)) => {
            let out_of_order_ns = constants.duration_or_zero(e, "`out_of_order`")?;
            watermark.strategy = WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns };
        }
        (Some((Strategy::Bounded, _)) | None, None) => {}
    }
    if let Some(e) = idle {
        watermark.idle_ns = constants.duration(e, "`idle`")?;
    }
    if let Some(e) = max_ahead {
        watermark.max_ahead_ns = Some(constants.duration(e, "`max_ahead`")?);
    }
    Some(())
}

fn is_word(e: &ast::Expr, word: &str) -> bool {
    matches!(&e.kind, ExprKind::Name(name) if name == word)
}

impl<'a> Chain<'a, '_, '_> {
    pub(super) fn set_watermark(&mut self, op: &'a StreamOp) -> Option<()> {
        let known = ["out_of_order", "idle", "max_ahead", "on", "strategy"];
        let args = self.arguments(op, &Takes { positional: (0, 0), named: &known })?;
        if let Some((_, first)) = &self.watermark {
            let found = Diagnostic::error(codes::GIVEN_TWICE, op.span, "a stream has one `.watermark`");
            self.findings.push(found.with_label(*first, "the first one is here"));
            return None;
        }
        if self.stateful() || self.enriched() || !self.origin.watermarked {
            let message =
                "`.watermark` works only where nothing but stateless operators stands between it and an input";
            self.error_with_hint(codes::MISPLACED_WATERMARK, op.span, message, "put it next to the source");
            return None;
        }
        let mut watermark = self.defaults.watermark.clone();
        let Arguments { named, .. } = &args;
        if named.is_empty() {
            self.error(codes::MISSING_OPTION, op.span, "`.watermark` says nothing");
            return None;
        }
        let (strategy, out_of_order) = (args.get("strategy"), args.get("out_of_order"));
        let (idle, max_ahead) = (args.get("idle"), args.get("max_ahead"));
        change_watermark(&mut watermark, strategy, out_of_order, idle, max_ahead, &mut self.constants())?;
        let on = match args.get("on") {
            Some(e) => {
                let typed = self.typed(e)?;
                if typed.data_type().ty != Type::Timestamp {
                    let message = format!("the event time is a timestamp, not {}", typed.data_type());
                    self.error(codes::BAD_EVENT_TIME, e.span, message);
                    return None;
                }
                Some((self.ops.len(), typed, e.span))
            }
            None => None,
        };
        self.watermark = Some((WatermarkChange { watermark, on }, op.span));
        Some(())
    }

    /// Lateness is the stream's, wherever it stands in the chain.
    pub(super) fn set_lateness(&mut self, op: &'a StreamOp) -> Option<()> {
        let args = self.arguments(op, &Takes { positional: (1, 1), named: &[] })?;
        if let Some((_, first)) = &self.lateness {
            let found = Diagnostic::error(codes::GIVEN_TWICE, op.span, "a stream has one `.allowed_lateness`");
            self.findings.push(found.with_label(*first, "the first one is here"));
            return None;
        }
        let ns = self.constants().duration_or_zero(&args.positional[0].value, "the allowed lateness")?;
        self.lateness = Some((ns, op.span));
        Some(())
    }

    /// The lateness that the finished stream's operators allow.
    pub fn settled_lateness(&mut self) -> i64 {
        let Some((ns, span)) = self.lateness else { return self.defaults.lateness_ns.unwrap_or(0) };
        let own = self.ops.iter().any(|op| matches!(op.kind, crate::sema::hir::OpKind::Keyed(_)));
        if !own && !self.origin.judges {
            let message = "the stream has no operator that could wait for late rows";
            self.error(codes::UNUSED_LATENESS, span, message);
        } else if self.origin.stateful && !self.origin.judges {
            let message = "no row can be late here: the stream's source gives its rows in order of time";
            let found = Diagnostic::warning(codes::NO_LATE_ROWS, span, message);
            self.findings.push(found.with_hint("allow lateness in the stream that reads the input"));
        }
        ns
    }
}
