//! The expressions of a pattern: conditions of its steps, and what is made of its matches.
//!
//! A condition is over the current row and over *memories*, what a run knows of the rows that it has taken; outputs
//! are over the columns that the operator gives. Both are asked for here, on demand, equal ones once. How many
//! memories there are is known only when the last condition has been typed, so they stand at columns from
//! [`MEMORIES`] on until then.

use crate::data::{Type, Value};
use crate::diagnostic::{Span, codes, nearest};
use crate::expr::{BinaryOp, Expr};
use crate::pattern::{Memory, MemoryValue, Output, Trend};
use crate::sema::pattern::scope::{Scope, Seen, Unbound};
use crate::sema::typer::{Place, Typer};
use crate::syntax::ast::{self, Arg, ExprKind, Name};

/// The column of the first memory while conditions are typed.
pub const MEMORIES: usize = 1 << 32;

/// Words that stand for something of a match.
const OF_MATCH: [&str; 3] = ["match_start", "match_end", "match_duration"];
const OF_TIMEOUT: [&str; 2] = ["last_step", "rows_taken"];

/// A pattern's names, and what its expressions have asked for so far.
pub struct Captures<'t> {
    pub scope: &'t Scope,
    pub asked: Asked,
    /// In an argument that is evaluated for each row of a step: which one, once it is known.
    pub(super) over: Option<Option<usize>>,
}

/// What is asked for, by what asks.
pub enum Asked {
    /// The condition of a step; `first`: the expression that asked for the first memory.
    Condition {
        step: usize,
        memories: Vec<Memory>,
        first: Option<Span>,
    },
    /// What is made of a match, or of a run that has timed out.
    Outputs {
        outputs: Vec<Output>,
        timeouts: bool,
    },
    Trends(Vec<Trend>),
}

impl<'t> Captures<'t> {
    pub fn new(scope: &'t Scope, asked: Asked) -> Captures<'t> {
        Captures { scope, asked, over: None }
    }

    /// The step whose condition it is.
    pub(super) fn step(&self) -> Option<usize> {
        match self.asked {
            Asked::Condition { step, .. } => Some(step),
            Asked::Outputs { .. } | Asked::Trends(_) => None,
        }
    }

    pub(super) fn asked_len(&self) -> usize {
        match &self.asked {
            Asked::Condition { memories, .. } => memories.len(),
            Asked::Outputs { outputs, .. } => outputs.len(),
            Asked::Trends(trends) => trends.len(),
        }
    }

    /// Forgets what was asked for in vain.
    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.asked {
            Asked::Condition { memories, .. } => memories.truncate(len),
            Asked::Outputs { outputs, .. } => outputs.truncate(len),
            Asked::Trends(trends) => trends.truncate(len),
        }
    }

    fn memory(&mut self, memory: Memory, span: Span) -> Expr {
        let ty = memory.data_type();
        let Asked::Condition { memories, first, .. } = &mut self.asked else {
            unreachable!("conditions alone ask for memories")
        };
        first.get_or_insert(span);
        Expr::column(MEMORIES + place(memories, memory), ty)
    }

    pub(super) fn output(&mut self, output: Output) -> Expr {
        let ty = output.data_type();
        let Asked::Outputs { outputs, .. } = &mut self.asked else { unreachable!("matches alone have outputs") };
        Expr::column(place(outputs, output), ty)
    }

    pub(super) fn trend(&mut self, trend: Trend) -> Expr {
        let ty = trend.data_type();
        let Asked::Trends(trends) = &mut self.asked else { unreachable!("trends alone have such columns") };
        Expr::column(place(trends, trend), ty)
    }

    /// The parts of the key: columns of the input for conditions and for what is evaluated by row, else of the
    /// operator's output, which begins with them.
    fn key(&self) -> Vec<Expr> {
        let of_row = self.scope.key_of_row();
        match &self.asked {
            Asked::Condition { .. } => of_row,
            Asked::Outputs { .. } | Asked::Trends(_) if self.over.is_some() => of_row,
            Asked::Outputs { .. } | Asked::Trends(_) => {
                of_row.iter().enumerate().map(|(i, e)| Expr::column(i, e.data_type())).collect()
            }
        }
    }
}

/// The position of `item`, which is added unless it is there.
fn place<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|i| *i == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

impl<'t> Typer<'t, '_> {
    /// What the expressions have asked for.
    pub fn into_captures(self) -> Captures<'t> {
        match self.place {
            Place::Captures(captures) => captures,
            Place::Constant | Place::Row(_) | Place::Group(_) => unreachable!("the caller has made the place"),
        }
    }

    pub(super) fn captures(&mut self) -> Option<&mut Captures<'t>> {
        match &mut self.place {
            Place::Captures(captures) if self.inlining.is_empty() => Some(captures),
            Place::Captures(_) | Place::Constant | Place::Row(_) | Place::Group(_) => None,
        }
    }

    /// What a bare name means; `None`: nothing of the pattern.
    pub(super) fn capture_name(&mut self, name: &str, span: Span) -> Option<Option<Expr>> {
        let captures = self.captures()?;
        let (scope, step, by_row) = (captures.scope, captures.step(), captures.over.is_some());
        if let Some(step) = step {
            let own = scope.steps[step].row.field(name).or((name == "event_time").then_some(Expr::EventTime));
            if let Some(e) = own {
                return Some(self.mark(step, span).map(|()| e));
            }
        }
        let parts = captures.key();
        if name == "key" {
            if parts.is_empty() {
                self.no_window_word(name, span);
            }
            let row = scope.steps.first().map(|s| &s.row);
            return Some(row.and_then(|row| row.key_value(parts)));
        }
        if step.is_none()
            && let Some(part) = scope.key_names.iter().position(|n| n.as_deref() == Some(name))
        {
            return Some(Some(parts[part].clone()));
        }
        if let Some(alias) = scope.by_alias(name) {
            scope.steps[alias].used.set(true);
            self.alias_alone(name, span);
            return Some(None);
        }
        match name {
            "event_time" if !by_row && matches!(self.captures()?.asked, Asked::Outputs { .. }) => {
                Some(Some(Expr::EventTime))
            }
            "window_start" | "window_end" => {
                self.no_window_word(name, span);
                Some(None)
            }
            _ if OF_MATCH.contains(&name) || OF_TIMEOUT.contains(&name) => Some(self.of_match(name, span)),
            _ if step.is_none() && !self.globals.consts.contains_key(name) => self.field_of_no_step(name, span),
            _ => None,
        }
    }

    fn of_match(&mut self, name: &str, span: Span) -> Option<Expr> {
        let captures = self.captures()?;
        let wrong = match &captures.asked {
            Asked::Condition { .. } => {
                Some("while rows are matched, write the time field of the first step, as in `a.at`")
            }
            Asked::Trends(_) => Some("it is of a single match, and a trend is of many"),
            Asked::Outputs { .. } if captures.over.is_some() => {
                Some("it is the same for all rows: use it outside the aggregate")
            }
            Asked::Outputs { timeouts: false, .. } if OF_TIMEOUT.contains(&name) => {
                Some("only runs that timed out have it: see `.timeout()`")
            }
            Asked::Outputs { .. } => None,
        };
        if let Some(hint) = wrong {
            self.report_with_hint(codes::NO_WINDOW_NAME, span, format!("there is no `{name}` here"), hint);
            return None;
        }
        Some(match name {
            "match_start" => captures.output(Output::MatchStart),
            "match_end" => captures.output(Output::MatchEnd),
            "last_step" => captures.output(Output::LastStep),
            "rows_taken" => captures.output(Output::Rows),
            _ => {
                let (end, start) = (captures.output(Output::MatchEnd), captures.output(Output::MatchStart));
                let ty = Type::Duration.required();
                Expr::Binary { op: BinaryOp::Subtract, left: Box::new(end), right: Box::new(start), ty }
            }
        })
    }

    fn alias_alone(&mut self, alias: &str, span: Span) {
        self.report_with_hint(
            codes::CAPTURE_ALONE,
            span,
            format!("`{alias}` stands for rows, and a value is needed"),
            format!("name a field, as in `{alias}.field`; `count({alias})` and `collect({alias})` take whole rows"),
        );
    }

    /// A field that some step has is not one of the match.
    fn field_of_no_step(&mut self, name: &str, span: Span) -> Option<Option<Expr>> {
        let scope = self.captures()?.scope;
        let mut have = scope.steps.iter().filter(|s| s.row.field(name).is_some());
        let first = have.clone().next()?;
        let hint = match have.find(|s| s.alias.is_some()) {
            Some(step) => format!("say of which step, as in `{}.{name}`", step.name()),
            None => format!("give the step an alias, as in `{} as a`, and write `a.{name}`", first.event),
        };
        self.report_with_hint(codes::UNKNOWN_NAME, span, format!("a match has no field `{name}` of its own"), hint);
        Some(None)
    }

    /// `alias.field`; `None`: no alias of the pattern.
    pub(super) fn capture_field(&mut self, alias: &ast::Expr, text: &str, name: &Name) -> Option<Option<Expr>> {
        let scope = self.captures()?.scope;
        let of = scope.by_alias(text)?;
        Some(self.field_of(of, alias.span, name))
    }

    fn field_of(&mut self, of: usize, alias: Span, name: &Name) -> Option<Expr> {
        let seen = self.seen(of, alias)?;
        let captures = self.captures()?;
        let scope = captures.scope;
        let row = &scope.steps[of].row;
        let own = row.field(&name.text).or((name.text == "event_time").then_some(Expr::EventTime));
        let Some(own) = own else {
            self.no_field(of, name);
            return None;
        };
        if captures.over.is_some() {
            return self.mark(of, alias).map(|()| own);
        }
        let span = alias.to(name.span);
        match (seen, &captures.asked) {
            (Seen::Own, _) => Some(own),
            (_, Asked::Trends(_)) => {
                let field = format!("{}.{}", scope.steps[of].name(), name.text);
                let message = format!("`{field}` has many values in a trend");
                self.report_with_hint(codes::BAD_TREND, span, message, format!("`sum_trends({field})` adds them up"));
                None
            }
            (Seen::Many, _) => {
                self.many(of, span, name);
                None
            }
            (Seen::Single { optional }, Asked::Condition { .. }) => {
                let ty = own.data_type();
                let column = captures.memory(Memory { step: of, value: MemoryValue::Last(own) }, span);
                Some(retyped(column, ty.nullable || optional))
            }
            (Seen::Single { optional }, Asked::Outputs { .. }) => {
                let ty = own.data_type();
                // A run that has timed out may not have come as far as the step.
                let optional = optional || matches!(captures.asked, Asked::Outputs { timeouts: true, .. });
                let column = captures.output(Output::Single { step: of, value: own });
                Some(retyped(column, ty.nullable || optional))
            }
            (Seen::Unbound(_), _) => None,
        }
    }

    /// What the rows of a step are from here, unless there are none.
    pub(super) fn seen(&mut self, of: usize, span: Span) -> Option<Seen> {
        let captures = self.captures()?;
        let scope = captures.scope;
        let from = captures.step();
        scope.steps[of].used.set(true);
        let name = scope.steps[of].name();
        let (message, hint) = match scope.seen(of, from) {
            seen @ (Seen::Own | Seen::Single { .. } | Seen::Many) => return Some(seen),
            Seen::Unbound(Unbound::Later) => (
                format!("`{name}` comes later, so it has no row yet"),
                "move the condition to the step that comes last".to_string(),
            ),
            Seen::Unbound(Unbound::AnyOrder) => (
                format!("`{name}` may come before or after: `and` leaves the order open"),
                "compare the two where both are known: in a later step, or in `.where(…)`".to_string(),
            ),
            Seen::Unbound(Unbound::OtherBranch) => (
                format!("`{name}` is in another branch of the `or`, so it has no row here"),
                "refer to steps that come before the `or`".to_string(),
            ),
            Seen::Unbound(Unbound::Negated) => (
                format!("`{name}` is negated: no match has a row of it"),
                "its alias can be used in its own condition only".to_string(),
            ),
        };
        self.report_with_hint(codes::NOT_BOUND, span, message, hint);
        None
    }

    fn many(&mut self, of: usize, span: Span, name: &Name) {
        let Some(captures) = self.captures() else { return };
        let alias = captures.scope.steps[of].name();
        let field = &name.text;
        let message = format!("`{alias}` can be many rows, so `{alias}.{field}` is no single value");
        let hint =
            format!("say which one, as in `last({alias}.{field})`, or aggregate them, as in `max({alias}.{field})`");
        self.report_with_hint(codes::MANY_ROWS, span, message, hint);
    }

    fn no_field(&mut self, of: usize, name: &Name) {
        let Some(captures) = self.captures() else { return };
        let step = &captures.scope.steps[of];
        let message = format!("`{}` has no field `{}`", step.event, name.text);
        let known: Vec<&str> = step.row.field_names().collect();
        match nearest(&name.text, known.iter().copied()) {
            Some(near) => {
                self.report_with_hint(codes::UNKNOWN_NAME, name.span, message, format!("did you mean `{near}`?"));
            }
            None if known.len() > 12 => self.report(codes::UNKNOWN_NAME, name.span, message),
            None => {
                let hint = format!("its fields are {}", known.join(", "));
                self.report_with_hint(codes::UNKNOWN_NAME, name.span, message, hint);
            }
        }
    }

    /// Notes that an argument is over the rows of `step`; they are of one step.
    pub(super) fn mark(&mut self, step: usize, span: Span) -> Option<()> {
        let Some(captures) = self.captures() else { return Some(()) };
        let Some(over) = &mut captures.over else { return Some(()) };
        match *over {
            Some(other) if other != step => {
                let (a, b) = (captures.scope.steps[other].name(), captures.scope.steps[step].name());
                let message = format!("the rows of one step are gone through, and here are `{a}` and `{b}`");
                let hint = "aggregate each by itself; `greatest` and `least` compare values of several steps";
                self.report_with_hint(codes::BAD_ARGUMENTS, span, message, hint);
                None
            }
            _ => {
                *over = Some(step);
                Some(())
            }
        }
    }

    /// Arguments that are evaluated for each row of a step, and the step.
    pub(super) fn by_row(&mut self, args: &[Arg], what: &str, span: Span) -> Option<(usize, Vec<Expr>)> {
        self.captures()?.over = Some(None);
        let typed: Vec<Option<Expr>> = args.iter().map(|a| self.expr(&a.value)).collect();
        let over = self.captures()?.over.take().flatten();
        let typed = typed.into_iter().collect::<Option<Vec<Expr>>>()?;
        let Some(step) = over else {
            let message = format!("nothing says of which step's rows `{what}` is");
            let hint = match what {
                "count" | "collect" => format!("name one, as in `{what}(a)`"),
                _ => format!("name one, as in `{what}(a.field)`"),
            };
            self.report_with_hint(codes::BAD_ARGUMENTS, span, message, hint);
            return None;
        };
        self.not_alone(step, what, span)?;
        Some((step, typed))
    }

    /// A condition that asks for earlier rows of its own step, which takes only one.
    pub(super) fn not_alone(&mut self, step: usize, what: &str, span: Span) -> Option<()> {
        let captures = self.captures()?;
        if captures.step() != Some(step) || captures.scope.steps[step].is_repeated() {
            return Some(());
        }
        let message = format!("`{what}` is of the rows that the step has taken before, and it takes only one");
        self.report_with_hint(codes::BAD_ARGUMENTS, span, message, "a `+` behind the step's type lets it take several");
        None
    }

    /// The alias that an argument consists of.
    pub(super) fn whole_rows(&mut self, arg: &ast::Expr) -> Option<usize> {
        let ExprKind::Name(name) = &arg.kind else { return None };
        let captures = self.captures()?;
        let scope = captures.scope;
        let own_field = captures.step().is_some_and(|step| scope.steps[step].row.field(name).is_some());
        if own_field { None } else { scope.by_alias(name) }
    }

    /// `prev(e)`: what `e` is in the row that its step took last; `prev(e, default)`: and before there is one.
    pub(super) fn prev(&mut self, args: &[Arg], span: Span) -> Option<Expr> {
        let in_condition = self.captures().is_some_and(|c| c.step().is_some() && c.over.is_none());
        if !in_condition {
            let message = "`prev` stands outside the condition of a pattern's step";
            let hint = "it is what the row before has, as in `Reading+ as up where value > prev(up.value)`";
            self.report_with_hint(codes::MISPLACED_AGGREGATE, span, message, hint);
            return None;
        }
        let (value, default) = match args {
            [value] => (value, None),
            [value, default] => (value, Some(default)),
            _ => {
                let message = format!("`prev` takes 1 or 2 arguments, not {}", args.len());
                self.report(codes::BAD_ARGUMENTS, span, message);
                return None;
            }
        };
        let (step, mut typed) = self.by_row(std::slice::from_ref(value), "prev", span)?;
        let value = typed.remove(0);
        let nullable = value.data_type().nullable;
        let last = self.captures()?.memory(Memory { step, value: MemoryValue::Last(value) }, span);
        let Some(default) = default else { return Some(last) };
        let otherwise = self.expr(&default.value)?;
        let count = self.captures()?.memory(Memory { step, value: MemoryValue::Count }, span);
        let none = Expr::Binary {
            op: BinaryOp::Equal,
            left: Box::new(count),
            right: Box::new(Expr::literal(Value::Int(0), Type::Int)),
            ty: Type::Bool.required(),
        };
        self.branches(none, otherwise, retyped(last, nullable), default.value.span)
    }

    pub(super) fn remember(&mut self, step: usize, value: MemoryValue, span: Span) -> Option<Expr> {
        Some(self.captures()?.memory(Memory { step, value }, span))
    }
}

/// The column, with what is known of its nulls at this place.
fn retyped(column: Expr, nullable: bool) -> Expr {
    match column {
        Expr::Column { index, ty } => Expr::Column { index, ty: ty.with_nullable(nullable) },
        other => other,
    }
}
