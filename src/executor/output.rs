//! What a script prints: bytes become text in chunks, bounded in memory, never in the script's way.
//!
//! Owns decoding, the caps and the pace of flushing. Reads no pipe (`process` does) and stores nothing. In the flow it
//! stands between the log pipe and whoever keeps the output.
//!
//! The first part of the output, the head, is passed on as it comes. What follows gathers as bytes in a ring that holds as much
//! as is kept of the end, the tail, and is passed on from there several times a second. A flood overwrites the ring meanwhile,
//! which costs no more than the copying. Chunks behind the head that are further from the end than the tail is long are
//! forgotten: whoever keeps the output has its head and its latest part at every moment, and not much more.
//!
//! A consumer that is slow makes the chunks larger; one that takes nothing costs output. Neither makes a script wait for longer than
//! a moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use memchr::{memchr, memchr2, memchr3, memrchr};
use tokio::sync::mpsc::{self, error::TrySendError};

/// From the first unsent character until it is sent, at the latest. Whoever follows a run sees it after this, one write, and
/// the pause between two looks: together less than half a second.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// Unsent text of the head that is sent at once, and the longest chunk.
const FLUSH_BYTES: usize = 64 * 1024;
/// Unsent text of the head that a slow consumer may let gather; beyond it, output is left out.
const UNSENT_BYTES: usize = 256 * 1024;
/// Bytes of the head that become text at a time. Once a line is cut, the rest of it is only counted.
const PIECE_BYTES: usize = 16 * 1024;
/// Chunks under way to the consumer. With `FLUSH_BYTES` this holds all that is kept by default.
const CHUNKS_UNDER_WAY: usize = 32;
/// How long a run waits for a consumer that has all chunks under way and takes none.
const CATCH_UP_LIMIT: Duration = Duration::from_millis(100);
/// How long the end of a run waits for a consumer that takes nothing.
const DELIVERY_LIMIT: Duration = Duration::from_secs(10);

/// How much of a run's output is kept, in bytes of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// From its beginning.
    pub head: usize,
    /// From its end, once the beginning is full.
    pub tail: usize,
    /// Of each line.
    pub line: usize,
}

impl Default for OutputLimits {
    fn default() -> Self {
        OutputLimits {
            head: 1024 * 1024,
            tail: 256 * 1024,
            line: 16 * 1024,
        }
    }
}

/// A piece of a run's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    /// 0, 1, 2 ... within the run. Only the closing marker of a run whose middle was left out goes back: it takes the number of
    /// the first chunk that was forgotten, and so stands between the head and the tail.
    pub sequence: u32,
    /// Text without NUL. Pieces follow each other without a separator; they may end within a line.
    pub text: String,
    /// It says that something is missing; nothing in it is the script's.
    pub is_marker: bool,
    /// Earlier chunks that are not needed any more.
    pub forget: Option<Forget>,
}

/// Chunks that are not needed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget {
    /// The first of them.
    pub from: u32,
    /// The first behind them.
    pub below: u32,
    /// When the first of them was sent.
    pub since: Instant,
}

impl Forget {
    /// Both of two that follow each other.
    #[must_use]
    pub fn with(self, other: Forget) -> Forget {
        Forget {
            from: self.from.min(other.from),
            below: self.below.max(other.below),
            since: self.since.min(other.since),
        }
    }
}

/// What a run's output was, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputSummary {
    /// Bytes that the script wrote.
    pub bytes_seen: u64,
    /// Bytes that were left out. States of a progress bar that a later state replaced do not count.
    pub bytes_dropped: u64,
}

const MARKER: [&str; 2] = ["[dropcron: ", " bytes of output were left out here]\n"];

/// The line that stands where output is missing.
fn marker(bytes: u64, follows_a_line: bool) -> String {
    let line_end = if follows_a_line { "" } else { "\n" };
    format!("{line_end}{}{bytes}{}", MARKER[0], MARKER[1])
}

/// Whether a chunk is nothing but the line that stands where output is missing.
#[must_use]
pub fn is_marker(chunk: &str) -> bool {
    let line = chunk.strip_prefix('\n').unwrap_or(chunk);
    line.strip_prefix(MARKER[0])
        .and_then(|line| line.strip_suffix(MARKER[1]))
        .is_some_and(|bytes| bytes.parse::<u64>().is_ok())
}

/// Where a run's output goes.
#[derive(Debug)]
pub struct OutputSender {
    chunks: mpsc::Sender<OutputChunk>,
    limits: OutputLimits,
}

/// The two ends of a run's output. The receiver is to be read while the run is under way.
pub fn channel(limits: OutputLimits) -> (OutputSender, mpsc::Receiver<OutputChunk>) {
    let (chunks, receiver) = mpsc::channel(CHUNKS_UNDER_WAY);
    (OutputSender { chunks, limits }, receiver)
}

/// The output of one run while it is read.
#[derive(Debug)]
pub(super) struct OutputCapture {
    chunks: mpsc::Sender<OutputChunk>,
    sequence: u32,
    decoder: Decoder,
    splitter: Splitter,
    ring: Ring,
    window: Window,
    /// What was sent last ends with a line.
    ends_line: bool,
    /// The same when the head was over.
    head_ends_line: bool,
    /// Missing ahead of what is unsent, to be said first.
    gap: u64,
    /// Said to be missing behind the head.
    gaps: u64,
    bytes_seen: u64,
    /// When the unsent text is to be sent.
    flush_at: Option<Instant>,
    is_consumer_stuck: bool,
}

impl OutputCapture {
    pub fn new(sender: OutputSender) -> OutputCapture {
        OutputCapture {
            chunks: sender.chunks,
            sequence: 0,
            decoder: Decoder::default(),
            splitter: Splitter::new(sender.limits),
            ring: Ring::new(sender.limits.tail),
            window: Window::new(sender.limits.tail),
            ends_line: true,
            head_ends_line: true,
            gap: 0,
            gaps: 0,
            bytes_seen: 0,
            flush_at: None,
            is_consumer_stuck: false,
        }
    }

    /// Takes what the script wrote.
    pub fn push(&mut self, bytes: &[u8], now: Instant) {
        self.bytes_seen += bytes.len() as u64;
        let rest = self.fill_head(bytes, now);
        self.ring.push(rest);
        if self.gap == 0 && self.splitter.unsent.is_empty() && self.ring.is_empty() {
            return;
        }
        let flush_at = *self.flush_at.get_or_insert(now + FLUSH_INTERVAL);
        if now >= flush_at {
            self.flush(now);
        }
    }

    /// Lets a consumer that has all places full take something, since it may wait for this very thread; one that takes nothing
    /// is waited for once. May be cancelled at any time.
    pub async fn let_consumer_catch_up(&mut self) {
        if self.chunks.capacity() > 0 {
            self.is_consumer_stuck = false;
        } else if !self.is_consumer_stuck {
            let taken = tokio::time::timeout(CATCH_UP_LIMIT, self.chunks.reserve()).await;
            self.is_consumer_stuck = taken.is_err();
        }
    }

    /// When `flush` is due; none if nothing waits.
    pub fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Sends what is unsent. If the consumer is behind, the text stays and is tried again.
    pub fn flush(&mut self, now: Instant) {
        self.flush_at = None;
        let chunks = self.chunks.clone();
        while self.has_unsent() {
            match chunks.try_reserve() {
                Ok(place) => place.send(self.next_chunk(now)),
                Err(TrySendError::Full(())) => {
                    self.flush_at = Some(now + FLUSH_INTERVAL);
                    return;
                }
                Err(TrySendError::Closed(())) => self.discard_unsent(),
            }
        }
    }

    /// Sends all that is kept, and says what the output was.
    pub async fn finish(mut self) -> OutputSummary {
        let chunks = self.chunks.clone();
        let delivered = tokio::time::timeout(DELIVERY_LIMIT, async {
            while self.has_unsent() || self.end_text() {
                let Ok(place) = chunks.reserve().await else { return };
                place.send(self.next_chunk(Instant::now()));
            }
            if let Some(marker) = self.closing_marker()
                && let Ok(place) = chunks.reserve().await
            {
                place.send(marker);
            }
        });
        if delivered.await.is_err() {
            tracing::warn!(
                output.bytes = self.splitter.unsent.len(),
                "output was left out: nobody took it"
            );
        }
        while self.has_unsent() {
            self.discard_unsent();
        }
        OutputSummary {
            bytes_seen: self.bytes_seen,
            bytes_dropped: self.splitter.dropped + self.gaps + self.window.forgotten,
        }
    }

    /// Takes what belongs to the head; gives back the rest.
    fn fill_head<'a>(&mut self, mut rest: &'a [u8], now: Instant) -> &'a [u8] {
        while !rest.is_empty() && self.splitter.head_left > 0 {
            let cut = self.splitter.skip_cut_line(rest);
            if cut > 0 {
                self.decoder.held.clear();
                rest = &rest[cut..];
                continue;
            }
            let Some(length) = self.splitter.fitting(rest) else {
                self.splitter.head_left = 0;
                break;
            };
            let piece;
            (piece, rest) = rest.split_at(length);
            if self.splitter.has_room(length) {
                let splitter = &mut self.splitter;
                self.decoder.decode(piece, |text| splitter.push(text));
            } else {
                self.decoder.held.clear();
                self.splitter.skip(length);
            }
            if self.splitter.unsent.len() >= FLUSH_BYTES {
                self.flush(now);
            }
        }
        rest
    }

    /// Whether there is something to send. What is in the ring becomes text only now.
    fn has_unsent(&mut self) -> bool {
        if self.gap == 0 && self.splitter.unsent.is_empty() && !self.ring.is_empty() {
            self.take_ring();
        }
        self.gap > 0 || !self.splitter.unsent.is_empty()
    }

    fn take_ring(&mut self) {
        if self.window.open(self.sequence) {
            self.head_ends_line = self.ends_line;
            // What a slow consumer has cost at the end of the head.
            self.ring.lost += self.splitter.take_gap();
        }
        let (bytes, lost) = self.ring.take();
        let mut text = bytes.as_slice();
        if lost > 0 {
            // What was begun before the gap does not go on behind it.
            self.decoder.held.clear();
            text = &bytes[whole_lines(&bytes)..];
            self.gap = lost + self.splitter.break_off() + (bytes.len() - text.len()) as u64;
        }
        let splitter = &mut self.splitter;
        self.decoder.decode(text, |text| splitter.push(text));
    }

    /// What comes next of that which is unsent.
    fn next_chunk(&mut self, now: Instant) -> OutputChunk {
        let sequence = self.sequence;
        self.sequence += 1;
        let gap = std::mem::take(&mut self.gap);
        let is_marker = gap > 0;
        let (text, forget) = if is_marker {
            self.gaps += gap;
            let forget = self.window.clear();
            self.window.push(0, now);
            (marker(gap, self.ends_line), forget)
        } else {
            let text = self.splitter.take_unsent(FLUSH_BYTES);
            let forget = self.window.push(text.len(), now);
            (text, forget)
        };
        self.ends_line = text.ends_with('\n');
        OutputChunk {
            sequence,
            text,
            is_marker,
            forget,
        }
    }

    /// Ends the text, once; whether that adds to it.
    fn end_text(&mut self) -> bool {
        if self.decoder.finish() {
            self.splitter.push("\u{fffd}");
        }
        self.splitter.close_cut_line();
        self.gap = self.splitter.take_gap();
        self.gap > 0 || !self.splitter.unsent.is_empty()
    }

    /// The one line that says how much is missing between head and tail, in place of those that said it on the way.
    fn closing_marker(&mut self) -> Option<OutputChunk> {
        let sequence = self.window.opened_at?;
        let forget = self.window.forget_marker();
        let bytes = self.gaps + self.window.forgotten;
        (bytes > 0).then(|| OutputChunk {
            sequence,
            text: marker(bytes, self.head_ends_line),
            is_marker: true,
            forget,
        })
    }

    fn discard_unsent(&mut self) {
        self.gaps += std::mem::take(&mut self.gap);
        self.splitter.discard_unsent();
    }
}

/// Where the first whole line begins in bytes that something is missing ahead of; else the first whole character.
fn whole_lines(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes)
        .map(|at| at + 1)
        .filter(|at| *at < bytes.len())
        .or_else(|| bytes.iter().position(|byte| byte & 0xc0 != 0x80))
        .unwrap_or(bytes.len())
}

/// The latest bytes, and how many earlier ones there was no room for.
#[derive(Debug)]
struct Ring {
    bytes: VecDeque<u8>,
    capacity: usize,
    lost: u64,
}

impl Ring {
    fn new(capacity: usize) -> Ring {
        Ring {
            bytes: VecDeque::new(),
            capacity,
            lost: 0,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let (over, kept) = bytes.split_at(bytes.len().saturating_sub(self.capacity));
        let excess = (self.bytes.len() + kept.len()).saturating_sub(self.capacity);
        self.bytes.drain(..excess);
        self.bytes.extend(kept);
        self.lost += (over.len() + excess) as u64;
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.lost == 0
    }

    fn take(&mut self) -> (Vec<u8>, u64) {
        let (front, back) = self.bytes.as_slices();
        let bytes = [front, back].concat();
        self.bytes.clear();
        (bytes, std::mem::take(&mut self.lost))
    }
}

/// The chunks behind the head that were sent and not forgotten.
#[derive(Debug)]
struct Window {
    /// What is kept of the end.
    limit: usize,
    /// The number of the first chunk behind the head.
    opened_at: Option<u32>,
    /// The number of the first chunk that is not forgotten.
    first: u32,
    chunks: VecDeque<Sent>,
    bytes: usize,
    /// Bytes of text that were forgotten.
    forgotten: u64,
}

/// A chunk that was sent. One without bytes of its own is a marker.
#[derive(Clone, Copy, Debug)]
struct Sent {
    bytes: usize,
    at: Instant,
}

impl Window {
    fn new(limit: usize) -> Window {
        Window {
            limit,
            opened_at: None,
            first: 0,
            chunks: VecDeque::new(),
            bytes: 0,
            forgotten: 0,
        }
    }

    /// The head ends before this number; whether that is news.
    fn open(&mut self, sequence: u32) -> bool {
        let is_new = self.opened_at.is_none();
        if is_new {
            self.opened_at = Some(sequence);
            self.first = sequence;
        }
        is_new
    }

    /// Adds a chunk, which may push others out. Those of the head are not its business.
    fn push(&mut self, bytes: usize, at: Instant) -> Option<Forget> {
        self.opened_at?;
        self.chunks.push_back(Sent { bytes, at });
        self.bytes += bytes;
        let limit = self.limit;
        self.forget_while(|window, oldest| window.chunks.len() > 1 && window.bytes - oldest.bytes >= limit)
    }

    /// Something is missing behind all of them.
    fn clear(&mut self) -> Option<Forget> {
        self.forget_while(|_, _| true)
    }

    fn forget_marker(&mut self) -> Option<Forget> {
        self.forget_while(|_, oldest| oldest.bytes == 0)
    }

    fn forget_while(&mut self, is_over: impl Fn(&Window, &Sent) -> bool) -> Option<Forget> {
        let from = self.first;
        let since = self.chunks.front()?.at;
        while let Some(oldest) = self.chunks.front().copied()
            && is_over(self, &oldest)
        {
            self.bytes -= oldest.bytes;
            self.forgotten += oldest.bytes as u64;
            self.first += 1;
            self.chunks.pop_front();
        }
        let below = self.first;
        (below > from).then_some(Forget { from, below, since })
    }
}

/// UTF-8 in pieces: a character that two reads share is put together, what is no character becomes U+FFFD.
#[derive(Debug, Default)]
struct Decoder {
    /// The beginning of a character, up to three bytes.
    held: Vec<u8>,
}

impl Decoder {
    fn decode(&mut self, bytes: &[u8], mut text: impl FnMut(&str)) {
        let joined;
        let mut rest = bytes;
        if !self.held.is_empty() {
            joined = [&std::mem::take(&mut self.held), bytes].concat();
            rest = &joined;
        }
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => return text(valid),
                Err(error) => error,
            };
            let (valid, invalid) = rest.split_at(error.valid_up_to());
            text(std::str::from_utf8(valid).expect("this much was found valid"));
            let Some(length) = error.error_len() else {
                self.held = invalid.to_vec();
                return;
            };
            text("\u{fffd}");
            rest = &invalid[length..];
        }
    }

    /// Whether the output ended within a character.
    fn finish(&mut self) -> bool {
        !std::mem::take(&mut self.held).is_empty()
    }
}

/// Text in pieces: lines are capped, progress bars collapse, and what there is no room for is counted.
#[derive(Debug)]
struct Splitter {
    limits: OutputLimits,
    /// Kept and not yet sent.
    unsent: String,
    /// Where the current line begins in `unsent`; none if it began in text that was sent or not kept.
    line_start: Option<usize>,
    /// Length of the current line so far, and how much of it was cut.
    line_length: usize,
    line_cut: u64,
    /// A carriage return was met; what follows it decides what it means.
    returned: bool,
    /// The consumer is so far behind that output is left out until it takes something.
    overflowing: bool,
    /// What is left of the beginning.
    head_left: usize,
    /// Left out since the last text that was kept.
    gap: u64,
    /// Left out in all.
    dropped: u64,
}

impl Splitter {
    fn new(limits: OutputLimits) -> Splitter {
        Splitter {
            limits,
            unsent: String::new(),
            line_start: Some(0),
            line_length: 0,
            line_cut: 0,
            returned: false,
            overflowing: false,
            head_left: limits.head,
            gap: 0,
            dropped: 0,
        }
    }

    /// Counts what only makes a cut line longer; how many of these bytes that are.
    fn skip_cut_line(&mut self, bytes: &[u8]) -> usize {
        if self.line_cut == 0 || self.returned {
            return 0;
        }
        let length = memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
        self.line_cut += length as u64;
        length
    }

    /// How many of these bytes belong to the head: whole lines, if there are any. None: it is full.
    fn fitting(&self, bytes: &[u8]) -> Option<usize> {
        let mut fits = bytes.len().min(self.head_left);
        if fits < bytes.len() {
            let is_within_line = self.line_length > 0 || self.head_left == self.limits.head;
            fits = match memrchr(b'\n', &bytes[..fits]) {
                Some(at) => at + 1,
                None if is_within_line => fits,
                None => return None,
            };
        }
        Some(fits.min(PIECE_BYTES))
    }

    /// Whether the consumer is near enough for so many more bytes.
    fn has_room(&mut self, length: usize) -> bool {
        self.overflowing |= self.unsent.len() + length > UNSENT_BYTES;
        !self.overflowing
    }

    /// Leaves out bytes that there is no room for.
    fn skip(&mut self, length: usize) {
        let bytes = length as u64 + self.break_off();
        self.gap += bytes;
        self.dropped += bytes;
    }

    /// Something is missing from here on: the line ends. What was cut of it.
    fn break_off(&mut self) -> u64 {
        self.line_start = None;
        self.line_length = 0;
        self.returned = false;
        std::mem::take(&mut self.line_cut)
    }

    fn push(&mut self, mut text: &str) {
        while !text.is_empty() {
            let end = memchr3(b'\n', b'\r', 0, text.as_bytes()).unwrap_or(text.len());
            let (plain, rest) = text.split_at(end);
            if !plain.is_empty() {
                self.resolve_return();
                self.push_within_line(plain);
            }
            let mut marks = rest.chars();
            match marks.next() {
                Some('\n') => self.end_line(),
                Some('\r') => self.returned = true,
                Some(_) => {
                    // Neither a text column nor jsonb takes NUL.
                    self.resolve_return();
                    self.push_within_line("\u{fffd}");
                }
                None => {}
            }
            text = marks.as_str();
        }
    }

    /// A carriage return with text behind it goes back to the start of the line: the text replaces what stands there.
    fn resolve_return(&mut self) {
        if !std::mem::take(&mut self.returned) {
            return;
        }
        self.line_length = 0;
        self.dropped += std::mem::take(&mut self.line_cut);
        match self.line_start {
            Some(start) => {
                // The head is over once it was full, whatever becomes of its last line.
                if self.head_left > 0 {
                    self.head_left += self.unsent.len() - start;
                }
                self.unsent.truncate(start);
            }
            None => {
                self.keep("\r");
                self.line_start = Some(self.unsent.len());
            }
        }
    }

    fn push_within_line(&mut self, text: &str) {
        let fits = floor_char_boundary(text, self.limits.line.saturating_sub(self.line_length));
        // Once a line is cut it stays cut, or a short character further on would seem to follow.
        let fits = if self.line_cut > 0 { 0 } else { fits };
        self.line_cut += (text.len() - fits) as u64;
        self.line_length += fits;
        if fits > 0 {
            self.keep(&text[..fits]);
        }
    }

    fn end_line(&mut self) {
        // CR LF is a line's end like LF.
        self.returned = false;
        self.close_cut_line();
        self.keep("\n");
        self.line_length = 0;
        self.line_start = Some(self.unsent.len());
    }

    fn close_cut_line(&mut self) {
        let cut = std::mem::take(&mut self.line_cut);
        if cut > 0 {
            self.dropped += cut;
            self.keep(&format!(" [dropcron: {cut} bytes of this line were left out]"));
        }
    }

    fn keep(&mut self, text: &str) {
        let gap = std::mem::take(&mut self.gap);
        if gap > 0 {
            // In the text itself, where it happened.
            let follows_a_line = self.unsent.is_empty() || self.unsent.ends_with('\n');
            self.unsent.push_str(&marker(gap, follows_a_line));
        }
        self.head_left = self.head_left.saturating_sub(text.len());
        self.unsent.push_str(text);
    }

    /// What is missing at the end of the head, for somebody else to count and to say.
    fn take_gap(&mut self) -> u64 {
        self.dropped -= self.gap;
        std::mem::take(&mut self.gap)
    }

    /// The first `most` bytes of unsent text, or a little less.
    fn take_unsent(&mut self, most: usize) -> String {
        self.overflowing = false;
        let length = floor_char_boundary(&self.unsent, most);
        let rest = self.unsent.split_off(length);
        self.line_start = self.line_start.and_then(|start| start.checked_sub(length));
        std::mem::replace(&mut self.unsent, rest)
    }

    fn discard_unsent(&mut self) {
        self.dropped += self.unsent.len() as u64;
        self.unsent.clear();
        self.line_start = None;
    }
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const SMALL: OutputLimits = OutputLimits {
        head: 100,
        tail: 40,
        line: 30,
    };

    /// What a keeper of the output has.
    #[derive(Debug, Default)]
    struct Kept {
        chunks: BTreeMap<u32, (String, bool)>,
        /// Every text, in the order in which it came: what somebody who follows has seen.
        seen: String,
    }

    impl Kept {
        fn take(&mut self, receiver: &mut mpsc::Receiver<OutputChunk>) {
            while let Ok(chunk) = receiver.try_recv() {
                if let Some(forget) = chunk.forget {
                    (forget.from..forget.below).for_each(|sequence| drop(self.chunks.remove(&sequence)));
                }
                self.seen.push_str(&chunk.text);
                let earlier = self.chunks.insert(chunk.sequence, (chunk.text, chunk.is_marker));
                assert_eq!(earlier, None, "a number that is in use");
            }
        }

        fn text(&self) -> String {
            self.chunks.values().map(|(text, _)| text.as_str()).collect()
        }

        fn markers(&self) -> usize {
            self.chunks.values().filter(|(_, is_marker)| *is_marker).count()
        }

        /// What stands before the only marker, the bytes that it counts, and what stands behind it.
        fn parts(&self) -> (String, u64, String) {
            let mut parts = (String::new(), 0, String::new());
            for (text, is_marker) in self.chunks.values() {
                if *is_marker {
                    assert!(super::is_marker(text), "{text}");
                    parts.1 = text
                        .split(' ')
                        .find_map(|word| word.parse().ok())
                        .expect("it counts bytes");
                } else if parts.1 == 0 {
                    parts.0.push_str(text);
                } else {
                    parts.2.push_str(text);
                }
            }
            parts
        }
    }

    /// Lets a capture end, with somebody who takes what it says.
    async fn finish(
        capture: OutputCapture,
        receiver: &mut mpsc::Receiver<OutputChunk>,
        kept: &mut Kept,
    ) -> OutputSummary {
        let finishing = capture.finish();
        tokio::pin!(finishing);
        loop {
            tokio::select! {
                biased;
                summary = &mut finishing => {
                    kept.take(receiver);
                    return summary;
                }
                () = tokio::task::yield_now() => kept.take(receiver),
            }
        }
    }

    /// What a consumer has after these writes, and the summary.
    async fn capture(limits: OutputLimits, writes: &[&[u8]]) -> (String, OutputSummary) {
        let (sender, mut receiver) = channel(limits);
        let mut capture = OutputCapture::new(sender);
        let now = Instant::now();
        writes.iter().for_each(|bytes| capture.push(bytes, now));
        let mut kept = Kept::default();
        let summary = finish(capture, &mut receiver, &mut kept).await;
        (kept.text(), summary)
    }

    #[tokio::test]
    async fn text_passes_unchanged() {
        let text = "one\ntwo\n\n\u{1b}[31mthree\u{1b}[0m\nwithout an end";
        let (kept, summary) = capture(SMALL, &[text.as_bytes()]).await;
        assert_eq!(kept, text);
        assert_eq!(
            summary,
            OutputSummary {
                bytes_seen: text.len() as u64,
                bytes_dropped: 0
            }
        );
    }

    #[tokio::test]
    async fn a_character_may_come_in_pieces() {
        let text = "grün 日本 🎉".as_bytes();
        for split in 0..text.len() {
            assert_eq!(
                capture(SMALL, &[&text[..split], &text[split..]]).await.0,
                "grün 日本 🎉"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_text_is_replaced() {
        assert_eq!(
            capture(SMALL, &[b"a\xffb\x00c\xe6\x97"]).await.0,
            "a\u{fffd}b\u{fffd}c\u{fffd}"
        );
    }

    #[tokio::test]
    async fn a_progress_bar_leaves_its_last_state() {
        assert_eq!(
            capture(SMALL, &[b"start\n 10%\r 50", b"%\r100%", b"\r\nend\r\n"])
                .await
                .0,
            "start\n100%\nend\n"
        );
    }

    #[tokio::test]
    async fn a_progress_bar_that_was_sent_goes_back_in_the_text() {
        let (sender, mut receiver) = channel(SMALL);
        let mut capture = OutputCapture::new(sender);
        let now = Instant::now();
        capture.push(b"x\n 10%", now);
        capture.flush(now);
        capture.push(b"\r 20%\r 30%", now);
        capture.flush(now);
        capture.push(b"\r 90%\n", now);
        capture.finish().await;
        let chunks: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok().map(|chunk| chunk.text)).collect();
        assert_eq!(chunks, ["x\n 10%", "\r 30%", "\r 90%\n"]);
    }

    #[tokio::test]
    async fn a_long_line_is_cut() {
        let (kept, summary) = capture(SMALL, &[&[b'x'; 25], &[b'y'; 1000], b"\nnext\n"]).await;
        assert_eq!(
            kept,
            format!(
                "{}{} [dropcron: 995 bytes of this line were left out]\nnext\n",
                "x".repeat(25),
                "y".repeat(5)
            )
        );
        assert_eq!(
            summary,
            OutputSummary {
                bytes_seen: 1031,
                bytes_dropped: 995
            }
        );
    }

    #[tokio::test]
    async fn beginning_and_end_are_kept_and_the_middle_is_counted() {
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}\n")).collect();
        let (kept, summary) = capture(SMALL, &[lines.concat().as_bytes()]).await;
        assert!(kept.starts_with("line 0\nline 1\n"), "{kept}");
        assert!(kept.ends_with("line 998\nline 999\n"), "{kept}");
        let marker = kept.lines().find(|line| line.starts_with('[')).unwrap();
        assert_eq!(
            marker,
            format!(
                "[dropcron: {} bytes of output were left out here]",
                summary.bytes_dropped
            )
        );
        let kept_lines = kept.replace(&format!("{marker}\n"), "");
        assert_eq!(summary.bytes_seen, kept_lines.len() as u64 + summary.bytes_dropped);
    }

    #[tokio::test]
    async fn a_flood_without_line_ends_is_held_in_little_memory() {
        let (sender, mut receiver) = channel(OutputLimits::default());
        let mut capture = OutputCapture::new(sender);
        for _ in 0..1000 {
            capture.push(&[0xfe; 65536], Instant::now());
            assert!(capture.splitter.unsent.len() + capture.ring.bytes.capacity() < 1_000_000);
        }
        let summary = capture.finish().await;
        assert_eq!(summary.bytes_seen, 65_536_000);
        let mut kept = 0;
        while let Ok(chunk) = receiver.try_recv() {
            kept += chunk.text.len();
        }
        assert!(kept < 17 * 1024, "{kept}");
    }

    #[tokio::test]
    async fn a_slow_consumer_costs_output_and_not_time() {
        let (sender, mut receiver) = channel(OutputLimits {
            head: 1 << 30,
            ..OutputLimits::default()
        });
        let mut capture = OutputCapture::new(sender);
        let line = format!("{}\n", "z".repeat(99));
        let now = Instant::now();
        for _ in 0..100_000 {
            capture.push(line.as_bytes(), now);
        }
        assert!(capture.splitter.unsent.len() <= UNSENT_BYTES);
        let consumer = async {
            let mut text = String::new();
            while let Some(chunk) = receiver.recv().await {
                text.push_str(&chunk.text);
            }
            text
        };
        let (summary, text) = tokio::join!(capture.finish(), consumer);
        assert!(text.ends_with(&format!(
            "[dropcron: {} bytes of output were left out here]\n",
            summary.bytes_dropped
        )));
        assert!(summary.bytes_dropped > 7_000_000);
    }

    #[tokio::test]
    async fn nobody_listening_is_no_reason_to_stop_reading() {
        let (sender, receiver) = channel(SMALL);
        drop(receiver);
        let mut capture = OutputCapture::new(sender);
        capture.push(b"a\n", Instant::now());
        assert_eq!(
            capture.finish().await,
            OutputSummary {
                bytes_seen: 2,
                bytes_dropped: 2
            }
        );
    }

    #[tokio::test]
    async fn text_waits_for_others_but_not_for_long() {
        let (sender, mut receiver) = channel(SMALL);
        let mut capture = OutputCapture::new(sender);
        let now = Instant::now();
        capture.push(b"prompt: ", now);
        assert!(receiver.try_recv().is_err());
        assert_eq!(capture.flush_at(), Some(now + FLUSH_INTERVAL));
        capture.push(b"more", now + FLUSH_INTERVAL);
        assert_eq!(receiver.try_recv().unwrap().text, "prompt: more");
        assert_eq!(capture.flush_at(), None);
    }

    /// Lines that nothing is done to: shorter than the cap, without carriage returns.
    fn lines(numbers: std::ops::Range<u32>) -> String {
        numbers.map(|number| format!("line {number}\n")).collect()
    }

    #[tokio::test]
    async fn what_comes_behind_the_head_is_passed_on_while_the_run_goes_on() {
        let (sender, mut receiver) = channel(SMALL);
        let mut capture = OutputCapture::new(sender);
        let mut now = Instant::now();
        let mut kept = Kept::default();
        for number in 0..100 {
            capture.push(lines(number..number + 1).as_bytes(), now);
            assert_eq!(capture.flush_at(), Some(now + FLUSH_INTERVAL));
            now += FLUSH_INTERVAL;
            capture.flush(now);
            kept.take(&mut receiver);
            assert!(kept.seen.ends_with(&lines(number..number + 1)), "{number}");
            assert!(kept.text().len() < SMALL.head + 2 * SMALL.tail, "{number}");
        }
        assert_eq!(kept.seen, lines(0..100), "nothing is missing for who follows");
        assert_eq!(kept.markers(), 0);
        let summary = finish(capture, &mut receiver, &mut kept).await;
        let (head, counted, tail) = kept.parts();
        assert!(lines(0..100).starts_with(&head) && lines(0..100).ends_with(&tail));
        assert_eq!(counted, summary.bytes_dropped);
        assert_eq!((head.len() + tail.len()) as u64 + counted, summary.bytes_seen);
    }

    #[tokio::test]
    async fn what_a_flood_overwrites_is_said_on_the_way_and_once_at_the_end() {
        let (sender, mut receiver) = channel(SMALL);
        let mut capture = OutputCapture::new(sender);
        let mut now = Instant::now();
        let mut kept = Kept::default();
        for flood in 0..3 {
            capture.push(lines(flood * 100..flood * 100 + 100).as_bytes(), now);
            now += FLUSH_INTERVAL;
            capture.flush(now);
            kept.take(&mut receiver);
            assert_eq!(kept.seen.matches("were left out here]").count(), flood as usize + 1);
            assert_eq!(kept.markers(), 1, "{kept:?}");
        }
        finish(capture, &mut receiver, &mut kept).await;
        assert_eq!(kept.markers(), 1, "{kept:?}");
        let (head, counted, tail) = kept.parts();
        assert!(
            tail.ends_with("line 298\nline 299\n") && tail.len() <= SMALL.tail,
            "{tail}"
        );
        assert_eq!((head.len() + tail.len()) as u64 + counted, lines(0..300).len() as u64);
    }

    #[tokio::test]
    async fn output_that_fits_has_no_marker() {
        let text = lines(0..18);
        assert!(text.len() > SMALL.head && text.len() <= SMALL.head + SMALL.tail);
        for size in [1, 7, 1000] {
            let writes: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (kept, summary) = capture(SMALL, &writes).await;
            assert_eq!((kept, summary.bytes_dropped), (text.clone(), 0));
        }
    }

    #[tokio::test]
    async fn nothing_need_be_kept() {
        let nothing = OutputLimits {
            head: 0,
            tail: 0,
            line: 30,
        };
        let (kept, summary) = capture(nothing, &[b"one\n", b"two\n"]).await;
        assert_eq!(kept, "[dropcron: 8 bytes of output were left out here]\n");
        assert_eq!(summary.bytes_dropped, 8);
        let no_tail = OutputLimits { tail: 0, ..SMALL };
        let (kept, _) = capture(no_tail, &[lines(0..100).as_bytes()]).await;
        assert!(
            kept.starts_with("line 0\n") && kept.ends_with("were left out here]\n"),
            "{kept}"
        );
    }

    #[tokio::test]
    async fn a_progress_bar_behind_the_head_leaves_its_states_once_a_flush() {
        let (sender, mut receiver) = channel(SMALL);
        let mut capture = OutputCapture::new(sender);
        let now = Instant::now();
        capture.push(lines(0..14).as_bytes(), now);
        capture.flush(now);
        let mut kept = Kept::default();
        kept.take(&mut receiver);
        let before = kept.seen.len();
        capture.push(b"\r 10%\r 20%", now);
        capture.flush(now);
        capture.push(b"\r 30%\r 40%\n", now);
        finish(capture, &mut receiver, &mut kept).await;
        assert_eq!(&kept.seen[before..], " 20%\r 40%\n");
    }

    #[tokio::test]
    async fn what_is_no_text_is_held_in_as_little_memory_behind_the_head() {
        let (sender, mut receiver) = channel(OutputLimits::default());
        let mut capture = OutputCapture::new(sender);
        let mut kept = Kept::default();
        let mut now = Instant::now();
        // Lines of 64 KiB: each fills the head by as much as is kept of a line.
        let mut block = vec![0xfe; 65536];
        block[65535] = b'\n';
        for _ in 0..1000 {
            capture.push(&block, now);
            now += FLUSH_INTERVAL / 8;
            kept.take(&mut receiver);
            assert!(capture.splitter.unsent.capacity() + capture.ring.bytes.capacity() < 2_000_000);
            assert!(kept.text().len() < 2_000_000);
        }
        let summary = finish(capture, &mut receiver, &mut kept).await;
        assert_eq!(summary.bytes_seen, 65_536_000);
        assert!(kept.text().len() > 900_000 && kept.text().len() < 1_500_000);
    }

    proptest! {
        /// Whatever the sizes and times of writes: the beginning, the end, and the count of what was between them.
        #[test]
        fn beginning_and_end_are_exact_and_the_marker_adds_up(
            writes in proptest::collection::vec((1_u32..40, any::<bool>(), any::<bool>()), 1..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let (sender, mut receiver) = channel(SMALL);
                let mut capture = OutputCapture::new(sender);
                let mut kept = Kept::default();
                let mut now = Instant::now();
                let mut text = String::new();
                let mut number = 0;
                for (count, flushes, takes) in writes {
                    let written = lines(number..number + count);
                    // Writes end within lines, too.
                    let (left, right) = written.split_at(written.len() / 3);
                    capture.push(left.as_bytes(), now);
                    if flushes {
                        now += FLUSH_INTERVAL;
                        capture.flush(now);
                    }
                    capture.push(right.as_bytes(), now);
                    if takes {
                        kept.take(&mut receiver);
                    }
                    number += count;
                    text.push_str(&written);
                }
                let summary = finish(capture, &mut receiver, &mut kept).await;
                assert_eq!(summary.bytes_seen, text.len() as u64);
                let (head, counted, tail) = kept.parts();
                assert!(text.starts_with(&head), "{head}\nof\n{text}");
                assert!(text.ends_with(&tail), "{tail}\nof\n{text}");
                assert_eq!(counted, summary.bytes_dropped);
                if counted == 0 {
                    assert_eq!(kept.markers(), 0);
                    assert_eq!(head, text);
                } else {
                    assert_eq!(kept.markers(), 1);
                    assert_eq!((head.len() + tail.len()) as u64 + counted, summary.bytes_seen);
                    let longest_line = "line 1000\n".len();
                    assert!(head.len() + longest_line > SMALL.head, "{head}");
                    assert!(tail.len() + longest_line >= SMALL.tail, "{tail}");
                    assert!(tail.len() <= 2 * SMALL.tail + longest_line, "{tail}");
                }
            });
        }

        /// No bytes make it panic, or keep more than twice what was asked for.
        #[test]
        fn any_bytes_become_text(
            writes in proptest::collection::vec(
                (proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(0), any::<u8>()], 0..200), any::<bool>()),
                0..30,
            ),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let (sender, mut receiver) = channel(SMALL);
                let mut capture = OutputCapture::new(sender);
                let mut kept = Kept::default();
                let mut now = Instant::now();
                for (bytes, flushes) in &writes {
                    capture.push(bytes, now);
                    if *flushes {
                        now += FLUSH_INTERVAL;
                        capture.flush(now);
                    }
                    kept.take(&mut receiver);
                }
                let summary = finish(capture, &mut receiver, &mut kept).await;
                assert_eq!(summary.bytes_seen, writes.iter().map(|(bytes, _)| bytes.len() as u64).sum::<u64>());
                assert!(!kept.text().contains('\0'));
                assert!(kept.markers() <= 1);
            });
        }
    }
}
