//! What can be wrong: [`Violation`].

use std::fmt;

use serde::Serialize;

use super::fact::{Id, Tag, User};

/// The promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A message whose sending was answered is not there.
    Lost,
    /// One message under two ids, one id for two messages, or an id given again after its confirmation was answered.
    Duplicated,
    /// Of one sending connection and one recipient, ids not in the order of the answers.
    Reordered,
    /// An id is missing, and no gap was announced.
    Hole,
    /// A message that was never sent.
    Invented,
}

/// The first fault that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) why: Why,
    /// Whose mailbox it is about.
    pub(crate) user: User,
}

/// What exactly is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was answered and is not there at the end.
    NotThere { tag: Tag },
    /// It has two ids.
    TwoIds { tag: Tag, ids: (Id, Id) },
    /// Two messages have it.
    ReusedId { id: Id, tags: (Tag, Tag) },
    /// It was given to a request that was made after its confirmation had been answered.
    AfterConfirmation { id: Id, tag: Tag, confirmed: Id },
    /// It was given twice in one page or one watch.
    Repeated { id: Id, tag: Tag },
    /// Sent and answered first, and behind the other.
    Overtaken { first: (Tag, Id), second: (Tag, Id) },
    /// One page or one watch gave them in the wrong order.
    Backwards { id: Id, tag: Tag, behind: Id },
    /// These were passed over in a page, a watch, or by everybody.
    Missing { from: Id, to: Id },
    /// Nobody sent this.
    NeverSent { id: Id, text: String },
    /// Its one attempt was refused with an error that says that nothing was changed, and it is there.
    RefusedAndThere { tag: Tag },
}

impl Violation {
    pub(crate) fn kind(&self) -> Kind {
        match self.why {
            Why::NotThere { .. } => Kind::Lost,
            Why::TwoIds { .. }
            | Why::ReusedId { .. }
            | Why::AfterConfirmation { .. }
            | Why::Repeated { .. } => Kind::Duplicated,
            Why::Overtaken { .. } | Why::Backwards { .. } => Kind::Reordered,
            Why::Missing { .. } => Kind::Hole,
            Why::NeverSent { .. } | Why::RefusedAndThere { .. } => Kind::Invented,
        }
    }

    /// The messages it is about.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        match self.why {
            Why::NotThere { tag }
            | Why::TwoIds { tag, .. }
            | Why::AfterConfirmation { tag, .. }
            | Why::Repeated { tag, .. }
            | Why::Backwards { tag, .. }
            | Why::RefusedAndThere { tag } => vec![tag],
            Why::ReusedId { tags: (a, b), .. }
            | Why::Overtaken { first: (a, _), second: (b, _) } => vec![a, b],
            Why::Missing { .. } | Why::NeverSent { .. } => vec![],
        }
    }

    /// The ids it is about, in its mailbox: from the first to the last.
    pub(crate) fn ids(&self) -> Option<(Id, Id)> {
        match self.why {
            Why::ReusedId { id, .. }
            | Why::AfterConfirmation { id, .. }
            | Why::Repeated { id, .. }
            | Why::NeverSent { id, .. } => Some((id, id)),
            Why::Missing { from, to } => Some((from, to)),
            Why::Backwards { id, behind, .. } => Some((id, behind)),
            Why::TwoIds { .. }
            | Why::NotThere { .. }
            | Why::Overtaken { .. }
            | Why::RefusedAndThere { .. } => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Hole => "hole",
            Self::Invented => "invented",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere { tag } => write!(f, "{tag} was answered and is not there"),
            Self::TwoIds { tag, ids: (a, b) } => {
                write!(f, "{tag} is there twice, as id {a} and id {b}")
            }
            Self::ReusedId { id, tags: (a, b) } => write!(f, "id {id} was given to {a} and to {b}"),
            Self::AfterConfirmation { id, tag, confirmed } => write!(
                f,
                "id {id} ({tag}) was given to a request made after the confirmation of all up to id {confirmed} had \
                 been answered"
            ),
            Self::Repeated { id, tag } => {
                write!(f, "id {id} ({tag}) was given twice in one page or watch")
            }
            Self::Overtaken { first: (a, a_id), second: (b, b_id) } => write!(
                f,
                "{a} was answered before {b} on one connection, and has id {a_id}, behind id {b_id}"
            ),
            Self::Backwards { id, tag, behind } => {
                write!(f, "id {id} ({tag}) was given behind id {behind} in one page or watch")
            }
            Self::Missing { from, to } if from == to => {
                write!(f, "id {from} was passed over, and no gap announced")
            }
            Self::Missing { from, to } => {
                write!(f, "ids {from} to {to} were passed over, and no gap announced")
            }
            Self::NeverSent { id, text } => write!(f, "id {id} was never sent: {text:?}"),
            Self::RefusedAndThere { tag } => {
                write!(f, "{tag} was refused as changing nothing, and is there")
            }
        }
    }
}
