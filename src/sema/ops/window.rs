//! `.window(…)` and `.session_window(…)`.

use crate::data::time::{NS_PER_DAY, format_duration};
use crate::data::{Type, Value};
use crate::diagnostic::{Diagnostic, codes};
use crate::sema::arguments::{Arguments, Takes};
use crate::sema::hir::Windows;
use crate::sema::ops::{Chain, Pending};
use crate::syntax::ast::StreamOp;

/// A sliding window is kept in slices; more of them than this for one window is a mistake in a unit.
const SLICES_PER_WINDOW_MAX: i64 = 100_000;

impl<'a> Chain<'a, '_, '_> {
    pub(super) fn window(&mut self, op: &'a StreamOp) -> Option<()> {
        let known = ["sliding", "offset", "tz", "partial", "session", "early"];
        let args = self.arguments(op, &Takes { positional: (0, 1), named: &known })?;
        if let Some(early) = args.get("early") {
            self.error(codes::NOT_SUPPORTED, early.span, "early results of a window are not supported yet");
            return None;
        }
        let windows = match (args.positional.first(), args.get("session")) {
            (None, Some(gap)) => {
                self.only(&args, &["session"])?;
                Windows::Session { gap_ns: self.constants().duration(gap, "the gap of a session")? }
            }
            (Some(size), None) => match self.constants().value(&size.value)? {
                Value::Int(_) => {
                    self.only(&args, &["sliding", "partial"])?;
                    self.count_window(&args)?
                }
                _ => {
                    self.only(&args, &["sliding", "offset", "tz"])?;
                    self.time_window(&args)?
                }
            },
            (Some(_), Some(gap)) => {
                self.error(codes::BAD_OPERATOR_ARGUMENTS, gap.span, "a window has a size or a session gap, not both");
                return None;
            }
            (None, None) => {
                let message = "`.window` needs a size";
                self.error_with_hint(
                    codes::BAD_OPERATOR_ARGUMENTS,
                    op.span,
                    message,
                    "as in `.window(5m)` or `.window(100)`",
                );
                return None;
            }
        };
        self.set_window(op, windows);
        Some(())
    }

    pub(super) fn session_window(&mut self, op: &'a StreamOp) -> Option<()> {
        let args = self.arguments(op, &Takes { positional: (0, 1), named: &["gap"] })?;
        let Some(gap) = args.get("gap").or(args.positional.first().map(|a| &a.value)) else {
            self.error(codes::MISSING_OPTION, op.span, "`.session_window` needs `gap:`");
            return None;
        };
        let gap_ns = self.constants().duration(gap, "the gap of a session")?;
        self.set_window(op, Windows::Session { gap_ns });
        Some(())
    }

    fn set_window(&mut self, op: &StreamOp, windows: Windows) {
        if let Some(unused) = &self.pending {
            let found = Diagnostic::error(codes::UNUSED_WINDOW, unused.span, "nothing uses this window");
            self.findings.push(found.with_label(op.span, "another window replaces it here"));
        }
        // The rows leave the window that they came from.
        if self.row.has_window() {
            let visible = self.visible();
            let hidden = self.hidden().into_iter().filter(|(n, _)| !n.starts_with("$window")).collect();
            self.project("window", op.span, visible, hidden);
        }
        self.pending = Some(Pending { label: label(&windows), windows, span: op.span });
    }

    /// Options that this form of window has none of.
    fn only(&mut self, args: &Arguments<'_>, known: &[&str]) -> Option<()> {
        let Some((other, _)) = args.named.iter().find(|(n, _)| !known.contains(&n.text.as_str())) else {
            return Some(());
        };
        let message = format!("`{}` does not go with this form of window", other.text);
        self.error(codes::BAD_OPERATOR_ARGUMENTS, other.span, message);
        None
    }

    fn count_window(&mut self, args: &Arguments<'a>) -> Option<Windows> {
        let size = self.constants().count(&args.positional[0].value, "the size of a count window")?;
        let slide = match args.get("sliding") {
            Some(e) => self.constants().count(e, "`sliding` of a count window")?,
            None => size,
        };
        let partial = match args.get("partial") {
            Some(e) => self.constants().boolean(e, "`partial`")?,
            None => false,
        };
        Some(Windows::Count { size, slide, partial })
    }

    fn time_window(&mut self, args: &Arguments<'a>) -> Option<Windows> {
        let size_ns = self.constants().duration(&args.positional[0].value, "the size of a window")?;
        let mut slide_ns = size_ns;
        if let Some(e) = args.get("sliding") {
            slide_ns = self.constants().duration(e, "`sliding`")?;
            if slide_ns > size_ns {
                let message = "`sliding` is longer than the window, so that rows between two windows would be in none";
                self.error_with_hint(codes::BAD_OPTION, e.span, message, "filter the rows instead");
                return None;
            }
            if size_ns / slide_ns > SLICES_PER_WINDOW_MAX {
                let message = format!("a row would belong to more than {SLICES_PER_WINDOW_MAX} windows");
                self.error(codes::BAD_OPTION, e.span, message);
                return None;
            }
        }
        let offset_ns = match args.get("offset") {
            Some(e) => self.offset(e, slide_ns)?,
            None => 0,
        };
        let tz = match args.get("tz") {
            Some(e) => self.time_zone(e, size_ns, slide_ns)?,
            None => None,
        };
        Some(Windows::Time { size_ns, slide_ns, offset_ns, tz })
    }

    /// Any offset, brought into `0 .. slide`.
    fn offset(&mut self, e: &'a crate::syntax::ast::Expr, slide_ns: i64) -> Option<i64> {
        match self.constants().value(e)? {
            Value::Duration(ns) => Some(ns.rem_euclid(slide_ns)),
            _ => {
                self.error(codes::BAD_OPTION, e.span, format!("`offset` must be a {}", Type::Duration));
                None
            }
        }
    }

    /// The zone's name; UTC is the same as none.
    fn time_zone(&mut self, e: &'a crate::syntax::ast::Expr, size_ns: i64, slide_ns: i64) -> Option<Option<String>> {
        let name = self.constants().text(e, "`tz`")?;
        if name.parse::<chrono_tz::Tz>().is_err() {
            let message = format!("there is no time zone \"{name}\"");
            let known = chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name());
            match crate::diagnostic::nearest(&name, known) {
                Some(near) => {
                    let hint = format!("did you mean \"{near}\"?");
                    self.error_with_hint(codes::BAD_OPTION, e.span, message, hint);
                }
                None => self.error(codes::BAD_OPTION, e.span, message),
            }
            return None;
        }
        if size_ns % NS_PER_DAY != 0 || slide_ns % NS_PER_DAY != 0 {
            let message = "`tz` aligns windows of whole days";
            self.error_with_hint(
                codes::BAD_OPTION,
                e.span,
                message,
                "shorter windows are the same in every zone: leave it out",
            );
            return None;
        }
        Some((name != "UTC").then_some(name))
    }
}

/// A window as `explain` names it.
pub fn label(windows: &Windows) -> String {
    match windows {
        Windows::Time { size_ns, slide_ns, offset_ns, tz } => {
            let mut out = format!("window {}", format_duration(*size_ns));
            if slide_ns != size_ns {
                out += &format!(" sliding {}", format_duration(*slide_ns));
            }
            if *offset_ns != 0 {
                out += &format!(" offset {}", format_duration(*offset_ns));
            }
            if let Some(tz) = tz {
                out += &format!(" tz {tz}");
            }
            out
        }
        Windows::Session { gap_ns } => format!("session {}", format_duration(*gap_ns)),
        Windows::Count { size, slide, partial } => {
            let mut out = format!("window {size} rows");
            if slide != size {
                out += &format!(" sliding {slide}");
            }
            if *partial {
                out += " partial";
            }
            out
        }
        Windows::Upstream { .. } => "same window".to_string(),
    }
}
