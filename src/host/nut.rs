//! Asks upsd, the server of Network UPS Tools, on the loopback: its protocol is lines of text. Nothing is ever set, and no
//! name or password given: whoever is on the machine may read. Where upsd is not, whoever is on the machine may also listen in
//! its place: therefore only root is believed, as whom upsd begins to listen, and the user whose the directory of its state is.

use crate::order::Gather as _;
use std::{collections::BTreeMap, fs, io, net::Ipv4Addr, os::unix::fs::MetadataExt as _, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{Host, listener};

/// Where upsd listens.
const PORT: u16 = 3493;
/// How long all the answers together may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest line that is taken; upsd writes none above 512 bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// The most lines of one list: a large UPS has some 200 variables.
const LINES_MAX: usize = 2000;
/// The most supplies that are asked.
const SUPPLIES_MAX: usize = 64;
const ROOT: u32 = 0;
/// Where NUT keeps its state.
const STATE: [&str; 3] = ["/run/nut", "/var/run/nut", "/var/lib/nut"];

/// What is known of a supply: its variables by name, or upsd's word for why there are none: `DATA-STALE`.
pub type Supply = Result<BTreeMap<String, String>, String>;

/// A connection to upsd, made when it is first asked and kept.
#[derive(Debug, Default)]
pub struct Nut {
    stream: Option<BufReader<TcpStream>>,
    port: Option<u16>,
}

impl Nut {
    /// All supplies that upsd watches, by name; at most 64 of them.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] where there is no upsd, [`io::ErrorKind::AddrInUse`] where somebody listens in its
    /// place; else when it does not answer as it should, in time.
    pub async fn supplies(&mut self, host: &Host) -> io::Result<BTreeMap<String, Supply>> {
        let answer = timeout(ANSWER_TIME_MAX, self.ask(host)).await;
        let answer = answer.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "upsd does not answer")));
        if answer.is_err() {
            // What is still on its way would be taken for the next answer.
            self.stream = None;
        }
        answer
    }

    async fn ask(&mut self, host: &Host) -> io::Result<BTreeMap<String, Supply>> {
        let listed = match self.list(host, "UPS").await {
            // Restarted since.
            Err(_) if self.stream.take().is_some() => self.list(host, "UPS").await?,
            listed => listed?,
        };
        let listed = listed.map_err(io::Error::other)?;
        let mut supplies = BTreeMap::new();
        for name in listed.iter().filter_map(|line| words(line).into_iter().next()).take(SUPPLIES_MAX) {
            let variables = self.list(host, &format!("VAR {name}")).await?;
            let variables = variables.map(|lines| lines.iter().filter_map(|line| variable(line)).gather());
            supplies.insert(name, variables);
        }
        Ok(supplies)
    }

    /// The lines of a list, less what each begins with; or upsd's word for why there is none.
    async fn list(&mut self, host: &Host, what: &str) -> io::Result<Result<Vec<String>, String>> {
        if self.stream.is_none() {
            let port = self.port.unwrap_or(PORT);
            // Before and after: who has let it be connected, and has gone since, is none either. Nothing counts before both.
            host.look(move |host| is_upsd(host, port)).await?;
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            host.look(move |host| is_upsd(host, port)).await?;
            self.stream = Some(BufReader::new(stream));
        }
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        stream.write_all(format!("LIST {what}\n").as_bytes()).await?;
        let first = line(stream).await?;
        if let Some(why) = first.strip_prefix("ERR ") {
            return Ok(Err(why.to_owned()));
        }
        if first != format!("BEGIN LIST {what}") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "upsd answers something else"));
        }
        let mut lines = Vec::new();
        loop {
            let next = line(stream).await?;
            if next == format!("END LIST {what}") {
                return Ok(Ok(lines));
            }
            if lines.len() >= LINES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the list of upsd has no end"));
            }
            lines.extend(next.strip_prefix(what).and_then(|rest| rest.strip_prefix(' ')).map(str::to_owned));
        }
    }
}

/// Whether it is upsd that listens there, as far as that can be known.
fn is_upsd(host: &Host, port: u16) -> io::Result<()> {
    let owners = listener::owners(host, port)
        .map_err(|error| io::Error::new(error.kind(), format!("who listens at port {port} is not known: {error}")))?;
    if owners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens there any more"));
    }
    match owners.into_iter().find(|owner| *owner != ROOT && !keeps_state(host, *owner)) {
        None => Ok(()),
        Some(owner) => {
            let why = format!("the user {owner} listens at port {port} in the place of upsd, and is not believed");
            Err(io::Error::new(io::ErrorKind::AddrInUse, why))
        }
    }
}

/// Whether it is the user as whom upsd runs from the beginning: NUT's directory is theirs, where root alone can have made it.
fn keeps_state(host: &Host, owner: u32) -> bool {
    STATE.iter().any(|path| {
        let path = host.path(path);
        let is_theirs = fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir() && it.uid() == owner);
        let around = path.parent().and_then(|around| fs::metadata(around).ok());
        is_theirs && around.is_some_and(|around| around.uid() == ROOT && around.mode() & 0o022 == 0)
    })
}

/// One line without its end; bytes that are no UTF-8 become replacement characters.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).await?;
    match bytes.pop() {
        Some(b'\n') => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a line of upsd has no end")),
    }
}

/// `ups.status "OL CHRG"`
fn variable(line: &str) -> Option<(String, String)> {
    let mut words = words(line).into_iter();
    Some((words.next()?, words.next()?))
}

/// Words, of which those with spaces stand in quotation marks; a backslash takes the next character as it is.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted, mut is_word) = (Vec::new(), String::new(), false, false);
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => word.extend(characters.next()),
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
                continue;
            }
            c => word.push(c),
        }
        is_word = true;
    }
    if is_word {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use proptest::prelude::*;
    use tokio::net::TcpListener;

    use super::*;
    use crate::host::listener::tests::where_listens;

    /// What a real upsd 2.8.0 answers, but for most variables.
    const DIALOGUE: &str = include_str!("../../tests/fixtures/nut/upsd.txt");

    /// As [`answered_by`] root.
    async fn answered(bytes: &[u8]) -> io::Result<BTreeMap<String, Supply>> {
        answered_by(ROOT, bytes).await
    }

    /// Plays a server of that user that gives these bytes to whoever connects; what it is asked it does not read.
    async fn answered_by(owner: u32, bytes: &[u8]) -> io::Result<BTreeMap<String, Supply>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (root, mut nut) = (where_listens(owner, port), Nut { stream: None, port: Some(port) });
        let host = Host::at(root.path());
        let serve = async {
            // A client that is given nothing comes a second time.
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        };
        tokio::select! {
            answer = nut.supplies(&host) => answer,
            () = serve => unreachable!(),
        }
    }

    #[tokio::test]
    async fn what_upsd_answers_is_read() {
        let supplies = answered(DIALOGUE.as_bytes()).await.expect("an answer");
        assert_eq!(supplies.keys().collect::<Vec<_>>(), ["attic", "rack"]);
        assert_eq!(supplies["attic"], Err("DATA-STALE".to_owned()));
        let rack = supplies["rack"].as_ref().expect("variables");
        assert_eq!(rack["ups.status"], "OL");
        assert_eq!(rack["ups.model"], "Back-UPS \"A\"");
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_endless_or_something_else_is_an_error() {
        for cut in [1, 20, 60, DIALOGUE.len() / 2] {
            assert!(answered(&DIALOGUE.as_bytes()[..cut]).await.is_err(), "{cut}");
        }
        assert!(answered(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.is_err());
        assert!(answered(&[b'x'; 100_000]).await.is_err());
        let endless = format!("BEGIN LIST UPS\n{}", "UPS a \"\"\n".repeat(10_000));
        assert!(answered(endless.as_bytes()).await.is_err());
        let mut nobody = Nut { stream: None, port: Some(1) };
        let root = where_listens(0, 7);
        let host = Host::at(root.path());
        assert_eq!(nobody.supplies(&host).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_user_who_listens_in_the_place_of_upsd_is_not_believed() {
        let error = answered_by(1000, DIALOGUE.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with("the user 1000 listens at port "), "{error}");
    }

    #[test]
    fn whom_upsd_runs_as_is_known_by_the_directory_of_its_state_where_root_alone_can_have_made_it() {
        let root = where_listens(4242, 7);
        let (host, run) = (Host::at(root.path()), root.path().join("run"));
        let judged = || is_upsd(&host, 7).map_err(|error| error.kind());
        assert_eq!(judged(), Err(io::ErrorKind::AddrInUse));
        fs::create_dir_all(run.join("nut")).unwrap();
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
        // Only root may give it away.
        if chown(run.join("nut"), Some(4242), None).is_ok() {
            assert_eq!(judged(), Ok(()));
            fs::set_permissions(&run, fs::Permissions::from_mode(0o1777)).unwrap();
            assert_eq!(judged(), Err(io::ErrorKind::AddrInUse), "anybody can have made it");
        }
        assert_eq!(
            is_upsd(&host, 8).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused,
            "who has listened has gone"
        );
        assert!(
            is_upsd(&Host::at("/nowhere"), 7)
                .unwrap_err()
                .to_string()
                .starts_with("who listens at port 7 is not known")
        );
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in ".{0,60}") {
            let _ = variable(&line);
        }

        #[test]
        fn a_quoted_value_is_given_back(value in "[a-z\"\\\\ ]{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(variable(&format!("name \"{quoted}\"")), Some(("name".to_owned(), value)));
        }
    }
}
