//! [`Opaque`]: ids for others, which tell nothing and cannot be made up.

use aes::Aes128;
use aes::cipher::{Block, BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};

use crate::MessageId;
use crate::store::{AccountNumber, HistoryCursor, SentId};

/// Encrypts what an id stands for, one block, so that it needs no table. A block that was made up decrypts to something at
/// random, which hits neither a tag of 32 bits nor a message that is there.
#[derive(Debug)]
pub(super) struct Opaque {
    sent: Aes128,
    cursor: Aes128,
}

impl Opaque {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        let mut other = secret;
        other.iter_mut().for_each(|byte| *byte ^= 0xff);
        Self { sent: Aes128::new(&secret.into()), cursor: Aes128::new(&other.into()) }
    }

    /// A message by its mailbox (there are fewer than 2^32) and its id there; `tag` names the incarnation.
    pub(super) fn sent(&self, mailbox: AccountNumber, id: MessageId, tag: u32) -> SentId {
        let number = u128::from(mailbox.0) << 96 | u128::from(tag) << 64 | u128::from(id.get());
        SentId(encrypt(&self.sent, number))
    }

    /// Whatever the block says; whether that is a message is for the caller to find out.
    pub(super) fn open_sent(&self, id: SentId) -> (AccountNumber, MessageId, u32) {
        let number = decrypt(&self.sent, id.0);
        (AccountNumber(low(number >> 96)), MessageId::new(low(number)), low32(number >> 64))
    }

    /// A position in the log; `tag` names the conversation.
    pub(super) fn cursor(&self, position: u64, tag: u64) -> HistoryCursor {
        HistoryCursor(encrypt(&self.cursor, u128::from(tag) << 64 | u128::from(position)))
    }

    /// A number that nobody else knows, for hashes that nobody else shall be able to foretell. No cursor is made of the same
    /// block: no position is that high.
    pub(super) fn seed(&self) -> u64 {
        low(u128::from_be_bytes(encrypt(&self.cursor, u128::MAX)))
    }

    pub(super) fn open_cursor(&self, cursor: HistoryCursor) -> (u64, u64) {
        let number = decrypt(&self.cursor, cursor.0);
        (low(number), low(number >> 64))
    }
}

/// What stands for an incarnation of the store.
pub(super) fn tag(incarnation: &[u8; 16]) -> u32 {
    let [a, b, c, d, ..] = *incarnation;
    u32::from_be_bytes([a, b, c, d])
}

fn encrypt(key: &Aes128, number: u128) -> [u8; 16] {
    let mut block = Block::<Aes128>::from(number.to_be_bytes());
    key.encrypt_block(&mut block);
    block.into()
}

fn decrypt(key: &Aes128, block: [u8; 16]) -> u128 {
    let mut block = Block::<Aes128>::from(block);
    key.decrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

fn low(number: u128) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = number.to_be_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn low32(number: u128) -> u32 {
    let [.., a, b, c, d] = number.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_opens_again() {
        let opaque = Opaque::new([9; 16]);
        let (mailbox, id) = (AccountNumber(77), MessageId::new(u64::MAX));
        let sent = opaque.sent(mailbox, id, 5);
        assert_eq!(opaque.open_sent(sent), (mailbox, id, 5));
        assert_eq!(opaque.open_cursor(opaque.cursor(3, u64::MAX)), (3, u64::MAX));
        assert_ne!(sent, opaque.sent(mailbox, MessageId::new(1), 5));
        assert_eq!(sent.to_string().parse(), Ok(sent));
        assert!("+".repeat(32).parse::<SentId>().is_err());
    }
}
