//! The words of `privacy`.

use chat_client::{Privacy, PrivacySubject};

use crate::failure::Failure;

pub(crate) fn privacy_subject(word: &str) -> Result<PrivacySubject, Failure> {
    match word {
        "receipts" => Ok(PrivacySubject::Receipts),
        "presence" => Ok(PrivacySubject::Presence),
        _ => Err(Failure::Usage("it is `privacy receipts` or `privacy presence`".to_owned())),
    }
}

pub(crate) fn privacy_choice(word: &str) -> Result<Privacy, Failure> {
    match word {
        "on" => Ok(Privacy::On),
        "off" => Ok(Privacy::Off),
        "default" => Ok(Privacy::Default),
        _ => Err(Failure::Usage("it is on, off or default".to_owned())),
    }
}
