//! A batch: consecutive events of one lane, epoch and boot, delivered together, with the same identifier until they are.
//!
//! Cut from what the log gives; no event is decoded or encoded on the way. How it is put together for whoever takes it is
//! the sink's [`Packing`].

use std::io;

use crate::event_log::{Lane, Pieces, Run};

/// How a sink has a batch put together. Equal ones put it together in the same way.
pub trait Packing: Clone + PartialEq + Send + Sync + 'static {
    /// A batch that is put together. Cheap to copy.
    type Message: Clone + Send + Sync + 'static;
    /// What is kept from one batch to the next, such as a compressor's memory.
    type Packer: Default + Send + Sync + 'static;

    /// Puts a batch together; the same bytes each time. `cut_at` is when that was first done, Unix milliseconds. Blocking.
    ///
    /// # Errors
    /// When what is stored cannot be decompressed.
    fn pack(&self, batch: &Batch<Self>, packer: &mut Self::Packer, cut_at: i64) -> io::Result<Self::Message>;

    /// Bytes that a message is on its way.
    fn wire_bytes(message: &Self::Message) -> usize;

    /// Whether what the log has compressed goes as it is stored: then a batch is made of whole stored frames, and the size of
    /// batches says when one goes and not where it is cut.
    fn is_as_stored(&self) -> bool {
        false
    }
}

/// Events to be delivered together.
#[derive(Clone, Debug)]
pub struct Batch<P: Packing> {
    /// Covers epoch, lane, first and last sequence, and what the events are: the same on every retry, and never that of other
    /// events, also when the log was set back or copied and gives numbers a second time.
    pub id: String,
    /// Lane of the events.
    pub lane: Lane,
    pub first_sequence: u64,
    pub last_sequence: u64,
    /// Answers in a row that may mean that it is too much at a time.
    pub strained: u32,
    /// Whether it was sent before.
    pub is_sent: bool,
    run: Run<Pieces>,
    packed: Option<(P, P::Message)>,
    /// Unix milliseconds of the first packing; what the batch says of itself.
    cut_at: Option<i64>,
}

impl<P: Packing> Batch<P> {
    /// Of the events of a run.
    pub fn new(run: Run<Pieces>) -> Batch<P> {
        let last_sequence = run.next_sequence() - 1;
        let (epoch, lane) = (run.epoch, run.lane.name());
        let id = format!("{epoch}/{lane}/{}-{last_sequence}/{:08x}", run.first_sequence, run.fields.digest());
        let (lane, first_sequence) = (run.lane, run.first_sequence);
        Batch { id, lane, first_sequence, last_sequence, strained: 0, is_sent: false, run, packed: None, cut_at: None }
    }

    /// Number of events.
    pub fn count(&self) -> u64 {
        self.run.count
    }

    /// What the events are.
    pub fn run(&self) -> &Run<Pieces> {
        &self.run
    }

    /// Bytes of the events, in clear.
    pub fn raw_bytes(&self) -> usize {
        self.run.fields.raw_bytes()
    }

    /// Two batches of half as many events each. Of a batch of at least two.
    ///
    /// # Errors
    /// When the events cannot be decompressed.
    pub fn halves(self) -> io::Result<(Batch<P>, Batch<P>)> {
        let (first, second) = self.run.clone().split(self.count() / 2)?;
        Ok((Batch::new(first), Batch::new(second)))
    }

    /// The batch put together: the same bytes each time, unless it is packed in another way. `now` (Unix milliseconds)
    /// counts the first time.
    ///
    /// # Errors
    /// When what is stored cannot be decompressed.
    pub fn message(&mut self, packer: &mut P::Packer, packing: &P, now: i64) -> io::Result<P::Message> {
        if let Some((packed, message)) = &self.packed
            && packed == packing
        {
            return Ok(message.clone());
        }
        let cut_at = *self.cut_at.get_or_insert(now);
        let message = packing.pack(self, packer, cut_at)?;
        self.packed = Some((packing.clone(), message.clone()));
        Ok(message)
    }

    /// Whether [`Batch::message`] has nothing left to do for this packing.
    pub fn is_packed(&self, packing: &P) -> bool {
        self.packed.as_ref().is_some_and(|(packed, _)| packed == packing)
    }
}
