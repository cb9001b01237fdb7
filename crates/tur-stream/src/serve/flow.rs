//! The body of an answer: [`Flow`], a line of text or the bytes of a media.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::shelf::Visit;
use crate::AsyncReader;

/// See the module.
pub(super) enum Flow {
    /// What is left of a text.
    Text(Option<Bytes>),
    /// Bytes of a media.
    Media(Stretch),
}

/// Bytes of a media, of one version and from one place on. It asks for more only when what it gave is on its way: who does not
/// read stops it, and with it the look-ahead of the reader.
pub(super) struct Stretch {
    reader: AsyncReader,
    /// Bytes still to come; `None` if the end shows how many.
    left: Option<u64>,
    /// What the next ones are read into.
    piece: Vec<u8>,
    /// Held for as long as it is answered.
    #[expect(dead_code, reason = "it ends by being dropped")]
    visit: Visit,
}

/// Bytes that are read at a time.
pub(super) const PIECE: usize = 64 << 10;

impl Flow {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Flow::Text((!text.is_empty()).then_some(text))
    }

    /// `len` bytes from where the reader is, or all to the end.
    pub(super) fn media(reader: AsyncReader, len: Option<u64>, visit: Visit) -> Self {
        Flow::Media(Stretch {
            reader,
            left: len,
            piece: Vec::new(),
            visit,
        })
    }
}

impl Stretch {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let room = self.left.map_or(PIECE, |left| {
            usize::try_from(left).map_or(PIECE, |left| left.min(PIECE))
        });
        if room == 0 {
            return Poll::Ready(None);
        }
        self.piece.resize(room, 0);
        let came = match ready!(self.reader.poll_into(cx, &mut self.piece)) {
            Ok(0) if self.left.is_none() => return Poll::Ready(None),
            // The file is shorter than was promised: the connection has to show it.
            Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Ok(came) => came,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        let mut piece = std::mem::take(&mut self.piece);
        piece.truncate(came);
        // Many small pieces that wait must not hold as much memory as large ones.
        piece.shrink_to_fit();
        self.left = self.left.map(|left| left - came as u64);
        Poll::Ready(Some(Ok(piece.into())))
    }
}

impl Body for Flow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match self.get_mut() {
            Flow::Text(text) => text.take().map(Ok),
            Flow::Media(stretch) => ready!(stretch.poll_piece(cx)),
        };
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Flow::Text(text) => text.is_none(),
            Flow::Media(stretch) => stretch.left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Flow::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Flow::Media(stretch) => stretch.left.map(SizeHint::with_exact).unwrap_or_default(),
        }
    }
}
