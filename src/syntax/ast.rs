//! A program as it was written: every node has a span, names are still strings.
//!
//! The tree keeps what `fmt` needs to print a program back (but comments, which the printer takes
//! from the source). It says nothing of meaning: `sema` does.

use crate::diagnostic::Span;

/// A name as written, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    pub declarations: Vec<Declaration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub kind: DeclarationKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DeclarationKind {
    /// `event Name [extends Base]:` with fields and possibly `time: expr`.
    Event {
        name: Name,
        extends: Option<Name>,
        members: Vec<EventMember>,
    },
    /// `type Name = T`.
    TypeAlias {
        name: Name,
        ty: TypeExpr,
    },
    /// `const NAME = expr`, optionally `: T`.
    Const {
        name: Name,
        ty: Option<TypeExpr>,
        value: Expr,
    },
    Fn {
        name: Name,
        params: Vec<Param>,
        result: Option<TypeExpr>,
        body: FnBody,
    },
    /// `import "path"`.
    Import {
        path: String,
        path_span: Span,
    },
    /// `connector Name = kind(arg: value, …)`.
    Connector {
        name: Name,
        kind: Name,
        args: Vec<Arg>,
    },
    /// `stream Name = source.op(…)…`.
    Stream {
        name: Name,
        source: Source,
        ops: Vec<StreamOp>,
    },
    /// `table Name = source.op(…)…`.
    Table {
        name: Name,
        source: Source,
        ops: Vec<StreamOp>,
    },
    /// `pattern Name = SEQ(…) within d partition by e`.
    Pattern {
        name: Name,
        body: Element,
        clauses: Vec<PatternClause>,
    },
    /// `window:`, `state:`, `checkpoint:` blocks of options.
    Block {
        keyword: Name,
        options: Vec<BlockOption>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum EventMember {
    Field {
        name: Name,
        ty: TypeExpr,
    },
    /// `time: expr` where `time` is not a field's type but the event time's expression.
    Time {
        value: Expr,
        span: Span,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct TypeExpr {
    pub kind: TypeKind,
    /// Whether `?` follows.
    pub nullable: bool,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TypeKind {
    /// `int`, `str`, …, an alias or an event type.
    Named(String),
    List(Box<TypeExpr>),
    /// `{str: T}`.
    Map(Box<TypeExpr>),
    /// `{a: T, b: U}`.
    Record(Vec<(Name, TypeExpr)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub name: Name,
    pub ty: TypeExpr,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FnBody {
    /// `= expr`.
    Expr(Expr),
    /// An indented block of statements.
    Block(Vec<Statement>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    Let {
        name: Name,
        value: Expr,
    },
    /// `if c: … elif c: … else: …`.
    If {
        branches: Vec<(Expr, Vec<Statement>)>,
        otherwise: Option<Vec<Statement>>,
    },
    Return {
        value: Expr,
        span: Span,
    },
}

/// `key: value` of a block; `strategy:` and `retention:` nest.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockOption {
    pub name: Name,
    pub value: OptionValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    Expr(Expr),
    Nested(Vec<BlockOption>),
}

/// What a stream starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub kind: SourceKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// `E` or `E as e`.
    Named { name: Name, alias: Option<Name> },
    /// `E.from(Connector, topic: "…", …)`.
    From { event: Name, args: Vec<Arg>, alias: Option<Name> },
    /// `merge(A, B, …)`.
    Merge { inputs: Vec<Source> },
    /// `join(A as a, B as b on …, within: …)` and its kin.
    Join { keyword: Name, args: Vec<JoinArg> },
    /// `timer(10s)`.
    Timer { period: Expr },
    /// `A as a -> B as b …`: an inline pattern.
    Pattern { body: Element },
}

/// What follows the body of a named pattern, in the order in which it is written.
#[derive(Clone, Debug, PartialEq)]
pub enum PatternClause {
    Within(Expr),
    PartitionBy(Vec<Expr>),
    /// `.strategy(…)` and its kin.
    Operator(StreamOp),
}

/// A part of a pattern; its span has the parentheses around it, and neither the sign nor the `not` that stands at
/// them, which belong to the repetition and the negation.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    pub kind: ElementKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ElementKind {
    /// `E as e where c`; `event` may be a stream, too.
    Step { event: Name, alias: Option<Name>, condition: Option<Expr> },
    /// `a -> b -> c`, or `SEQ(a, b, c)`.
    Sequence(Vec<Element>),
    /// `a and b`, which binds tighter than `or`.
    And(Vec<Element>),
    /// `a or b`, which binds tighter than `->`.
    Or(Vec<Element>),
    /// `a+`, `all a`, `a*`, `a?`, `a{2}`, `a{2,}`, `a{2,3}`, of a step or a group in parentheses.
    Repeat { element: Box<Element>, quantifier: Quantifier },
    /// `not a`.
    Not(Box<Element>),
    /// `(…) as g where c`: a group has neither, which is for `sema` to say.
    Named { element: Box<Element>, alias: Option<Name>, condition: Option<Expr> },
}

/// How often; `None`: any number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantifier {
    pub min: u32,
    pub max: Option<u32>,
    /// From `all` or the sign to its end.
    pub span: Span,
}

/// An argument of a join: an input with its condition, or a named option.
#[derive(Clone, Debug, PartialEq)]
pub enum JoinArg {
    Input { source: Box<Source>, on: Option<Expr> },
    Option(Arg),
}

/// `.name(args)`, `.emit as Alert (args)`.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamOp {
    pub name: Name,
    /// `as Alert` of `.emit`.
    pub alias: Option<Name>,
    pub args: Vec<Arg>,
    /// From the dot to the closing parenthesis.
    pub span: Span,
}

/// An argument of an operator, connector or call: `value`, `name: value`, `value desc`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    pub name: Option<Name>,
    pub value: Expr,
    /// `asc` or `desc` after the value, as in `.order_by(x desc)`.
    pub direction: Option<(Direction, Span)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    /// `f"zone {zone}"`.
    Interpolated(Vec<StrPart>),
    /// Nanoseconds.
    Duration(i64),
    /// Bytes; in options only.
    Size(u64),
    /// Nanoseconds since 1970.
    Timestamp(i64),
    Name(String),
    List(Vec<Expr>),
    Map(Vec<(String, Expr)>),
    Unary {
        op: UnaryOp,
        arg: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `x is null`, `x is not null`.
    IsNull {
        arg: Box<Expr>,
        negated: bool,
    },
    /// `x in list`, `x not in list`.
    In {
        value: Box<Expr>,
        list: Box<Expr>,
        negated: bool,
    },
    If {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    /// `record.field`; `alias.field` parses the same.
    Field {
        base: Box<Expr>,
        name: Name,
        optional: bool,
    },
    Index {
        base: Box<Expr>,
        index: Box<Expr>,
    },
    Slice {
        base: Box<Expr>,
        from: Option<Box<Expr>>,
        to: Option<Box<Expr>>,
    },
    Call {
        function: Name,
        args: Vec<Arg>,
    },
    /// `cast(x as T)`, `try_cast(x as T)`.
    Cast {
        arg: Box<Expr>,
        ty: TypeExpr,
        fallible: bool,
    },
    /// What stands where an expression failed to parse; already reported.
    Error,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StrPart {
    Text(String),
    Expr(Expr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    Not,
    Negate,
    BitNot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    Matches,
    Coalesce,
    BitOr,
    BitXor,
    BitAnd,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}
