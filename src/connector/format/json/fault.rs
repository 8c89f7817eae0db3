//! What stops the reading of a row or of one of its values.

/// Not well-formed JSON; says what was expected at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax(pub &'static str);

/// Why a value could not be put into its column.
#[derive(Debug)]
pub enum Fault {
    Syntax(Syntax),
    /// `null` where a value is required.
    Null,
    /// A value of another type, or none for a required member. Boxed: it is rare, and results stay
    /// small enough for registers.
    Field(Box<FieldFault>),
}

/// A fault of one field, in an otherwise well-formed row.
#[derive(Debug)]
pub struct FieldFault {
    /// Below the field: `.member`, `[]`.
    pub path: String,
    pub kind: FieldFaultKind,
}

#[derive(Debug)]
pub enum FieldFaultKind {
    Missing,
    /// A timestamp that does not fit 64-bit nanoseconds.
    DistantTime,
    /// What was expected and found.
    WrongType {
        expected: String,
        found: &'static str,
    },
}

impl From<Syntax> for Fault {
    fn from(syntax: Syntax) -> Fault {
        Fault::Syntax(syntax)
    }
}

impl Fault {
    #[cold]
    pub fn wrong(expected: impl Into<String>, found: &'static str) -> Fault {
        let kind = FieldFaultKind::WrongType { expected: expected.into(), found };
        Fault::Field(Box::new(FieldFault { path: String::new(), kind }))
    }

    #[cold]
    pub fn distant_time() -> Fault {
        Fault::Field(Box::new(FieldFault { path: String::new(), kind: FieldFaultKind::DistantTime }))
    }

    #[cold]
    pub fn missing() -> Fault {
        Fault::Field(Box::new(FieldFault { path: String::new(), kind: FieldFaultKind::Missing }))
    }

    /// The fault as seen from one level up.
    #[cold]
    pub fn within(mut self, step: &str) -> Fault {
        if let Fault::Field(fault) = &mut self {
            fault.path.insert_str(0, step);
        }
        self
    }
}
