//! A client that says exactly what a test wants, and looks at what comes back.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tur_core::ByteRange;
use tur_stream::Media;
use tur_stream::serve::{Endpoint, EndpointOptions};
use tur_testkit::content;

/// No test comes near it on any machine that works.
const LIMIT: Duration = Duration::from_secs(120);
/// Minutes of looking.
const LOOKS_MAX: u64 = 50_000_000;

/// An endpoint with one media.
pub(crate) struct Place {
    pub(crate) endpoint: Endpoint,
    pub(crate) media: Media,
    pub(crate) path: String,
}

impl Place {
    pub(crate) fn of(media: Media) -> Self {
        Self::with(media, EndpointOptions::new())
    }

    pub(crate) fn with(media: Media, options: EndpointOptions) -> Self {
        let endpoint = Endpoint::open(options).expect("a port");
        let url = endpoint.add(&media).expect("a URL");
        let origin = format!("http://{}", endpoint.address());
        let path = url.strip_prefix(&origin).expect("it is there").to_owned();
        Self {
            endpoint,
            media,
            path,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::of(&self.endpoint)
    }

    /// A request of a whole life: its own connection, a method and more lines.
    pub(crate) fn ask(&self, method: &str, lines: &[&str]) -> Answer {
        self.client().ask(method, &self.path, lines)
    }

    /// Waits until so many are served.
    pub(crate) fn until_there_are(&self, count: usize) {
        let mut looks = 0_u64;
        while self.endpoint.clients() != count {
            looks += 1;
            assert!(looks < LOOKS_MAX, "{} are there", self.endpoint.clients());
            std::thread::yield_now();
        }
    }
}

pub(crate) struct Client {
    host: String,
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// False if the end of the body did not come.
    pub(crate) is_whole: bool,
}

impl Client {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        let stream = TcpStream::connect(endpoint.address()).expect("somebody listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        Self {
            host: endpoint.address().to_string(),
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, lines: &[&str]) -> Answer {
        self.send(method, path, lines);
        self.answer(method)
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, lines: &[&str]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for line in lines {
            head += line;
            head += "\r\n";
        }
        self.raw(&(head + "\r\n"));
    }

    pub(crate) fn raw(&mut self, text: &str) {
        let mut stream = self.stream.get_ref();
        stream.write_all(text.as_bytes()).expect("it is taken");
    }

    /// Reads an answer to its end, which for an error is that of the connection.
    pub(crate) fn answer(&mut self, method: &str) -> Answer {
        let mut answer = self.head();
        let bare = method == "HEAD" || [204, 304].contains(&answer.status);
        let length = answer.field("content-length").map(str::to_owned);
        match length {
            _ if bare => answer.is_whole = true,
            Some(length) => {
                let length: u64 = length.parse().expect("a length");
                let mut body = Vec::new();
                ended(self.stream.by_ref().take(length).read_to_end(&mut body));
                answer.is_whole = body.len() as u64 == length;
                answer.body = body;
            }
            None => {
                assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
                answer.is_whole = self.chunks(&mut answer.body);
            }
        }
        answer
    }

    /// The head of an answer; its body is still to be read.
    pub(crate) fn head(&mut self) -> Answer {
        let line = self.line().expect("an answer");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut fields = Vec::new();
        loop {
            let line = self.line().expect("a whole head");
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "");
                break;
            };
            fields.push((name.to_lowercase(), value.to_owned()));
        }
        Answer {
            status: status.expect("a status"),
            fields,
            body: Vec::new(),
            is_whole: false,
        }
    }

    /// The next bytes of a body.
    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0xee; count];
        self.stream.read_exact(&mut bytes).expect("they come");
        bytes
    }

    /// True if the connection ends without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        ended(self.stream.read_to_end(&mut rest));
        rest.is_empty()
    }

    /// False if the last chunk does not come.
    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        while let Some(line) = self.line() {
            let len = u64::from_str_radix(&line, 16).expect("a length of a chunk");
            let before = body.len();
            ended(self.stream.by_ref().take(len).read_to_end(body));
            if body.len() - before < len as usize || self.line().as_deref() != Some("") {
                return false;
            }
            if len == 0 {
                return true;
            }
        }
        false
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        if ended(read) == 0 {
            return None;
        }
        line.strip_suffix("\r\n").map(str::to_owned)
    }
}

impl std::io::Read for Client {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(into)
    }
}

/// What was read; nothing of a connection that was reset.
fn ended(read: std::io::Result<usize>) -> usize {
    match read {
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
        Err(error) => panic!("{error}"),
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// It has exactly the bytes of a range.
    #[track_caller]
    pub(crate) fn assert_bytes(&self, status: u16, version: u8, range: ByteRange) {
        assert_eq!(self.status, status, "{:?}", self.fields);
        assert!(self.is_whole, "{} bytes", self.body.len());
        assert!(self.body == content(version, range), "wrong bytes");
    }

    /// It has one line of text, and no more will come.
    #[track_caller]
    pub(crate) fn assert_refusal(&self, status: u16) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.len() > 5 && text.ends_with('\n'), "{text}");
        assert_eq!(self.field("connection"), Some("close"));
    }
}
