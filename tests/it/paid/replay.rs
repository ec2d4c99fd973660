//! Kept replies: a second run asks nothing, and replay needs neither server nor key.

use std::{fs, path::Path};

use super::{kept, paid, server::Act, server::Server, store};
use crate::{
    bench::small,
    support::{run, succeed},
};

fn table(out: &Path) -> String {
    fs::read_to_string(out.join("table2.csv")).unwrap()
}

#[test]
fn kept_replies_are_not_paid_for_again_and_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let replies = dir.path().join("replies");
    let folder = replies.display().to_string();
    let server = Server::start(|_, _| Act::Answer);
    let stores = ["first", "second", "third"].map(|name| {
        let dir = dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        store(&dir)
    });
    let [first, second, third] = &stores;
    succeed(paid(first, &server).args(["--replies", &folder]));
    let n = server.n_asked();
    assert!(n > 0 && kept(&replies).len() == n);

    // A store without the judged cells: everything is answered from the folder, without a key.
    let again = succeed(
        paid(second, &server)
            .args(["--replies", &folder])
            .env_remove("OPENAI_API_KEY"),
    );
    assert_eq!(server.n_asked(), n, "{}", again.stderr);
    assert!(again.stderr.contains("judge: 0 calls"), "{}", again.stderr);
    assert_eq!(table(first), table(second));

    // The judge is the recorded one, named or not.
    let replay = |out: &Path| {
        let mut command = small(out);
        command.args(["--judge", "replay", "--replies", &folder]);
        command
    };
    succeed(&mut replay(third));
    assert_eq!(server.n_asked(), n);
    assert_eq!(table(first), table(third));
    assert!(table(third).contains(&server.judge()));

    // A recording that is not there ends the run and is named.
    let lost = kept(&replies).remove(0);
    let key = lost.file_stem().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(&lost).unwrap();
    let fourth = dir.path().join("fourth");
    fs::create_dir(&fourth).unwrap();
    let ran = run(replay(&store(&fourth)).args(["--judge-model", &server.judge()]));
    assert_eq!(ran.code, 30, "{}", ran.stderr);
    for part in [key.as_str(), "which begins `", "--replies"] {
        assert!(
            ran.stderr.contains(part),
            "{part} is not in\n{}",
            ran.stderr
        );
    }
}

#[test]
fn a_damaged_reply_is_put_aside_and_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let replies = dir.path().join("replies");
    let folder = replies.display().to_string();
    let server = Server::start(|_, _| Act::Answer);
    let stores = ["first", "second"].map(|name| {
        let dir = dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        store(&dir)
    });
    succeed(paid(&stores[0], &server).args(["--replies", &folder]));
    let n = server.n_asked();
    let file = kept(&replies).remove(0);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replacen("\"tokens_in\":3", "\"tokens_in\":4", 1),
    )
    .unwrap();
    succeed(paid(&stores[1], &server).args(["--replies", &folder]));
    assert_eq!(server.n_asked(), n + 1);
    assert_eq!(fs::read_dir(replies.join("quarantine")).unwrap().count(), 1);
    assert_eq!(table(&stores[0]), table(&stores[1]));
}

#[test]
fn replay_without_recordings_says_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let ran = run(small(&out).args(["--judge", "replay"]));
    assert_eq!(ran.code, 30, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("no replies to replay in"),
        "{}",
        ran.stderr
    );
}
