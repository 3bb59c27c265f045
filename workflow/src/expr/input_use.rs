//! One use of an input in an expression, to be checked against the types that the file declares.

/// One use of inputs. Ranges are bytes of the expression.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum InputUse {
    /// The expression fails if this input is absent.
    Needs(String),
    /// The expression asks whether this input is there; whether any is, if there is no name.
    Asks(Option<String>),
    /// An operator between values whose types may be known.
    Operation { sign: String, left: TypedOperand, right: TypedOperand },
}

/// A side of an operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TypedOperand {
    pub(crate) kind: OperandKind,
    /// The side as it is written.
    pub(crate) text: String,
}

/// What a side of an operator is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum OperandKind {
    /// `inputs.<name>`
    Input(String),
    Literal(LiteralKind),
}

/// The type of a literal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LiteralKind {
    Null,
    Boolean,
    Integer,
    Double,
    Text,
}
