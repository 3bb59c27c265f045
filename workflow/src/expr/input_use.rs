//! Uses of inputs in an expression, to be checked against the declared types.

/// A use of inputs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum InputUse {
    /// The expression fails if this input is absent.
    Required(String),
    /// The expression tests the presence of this input, or of an unknown one if there is no name.
    PresenceTest(Option<String>),
    /// An operator has operands whose types may be known.
    Operation { sign: String, left: TypedOperand, right: TypedOperand },
}

/// An operand whose type may be known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TypedOperand {
    pub(crate) kind: OperandKind,
    /// Text of the operand.
    pub(crate) text: String,
}

/// The kind of an operand.
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
