use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use super::*;
use crate::{Access, Store};

const PACE: Pace = Pace {
    beat: Duration::from_millis(10),
    patience: Duration::from_millis(300),
};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    (dir, store)
}

fn claim_files(store: &Store) -> Vec<String> {
    names(&store.dir().join(FOLDER)).unwrap()
}

/// A claim of a process that is not this one, and its file.
fn foreign(store: &Store, key: &str, change: impl FnOnce(&mut Holder)) -> Holder {
    let mut holder = Holder::of_this_process();
    change(&mut holder);
    write(store, &holder);
    let claim = store.dir().join(FOLDER).join(format!("{key}{CLAIM}"));
    fs::write(claim, &holder.token).unwrap();
    holder
}

fn write(store: &Store, holder: &Holder) {
    let dir = store.dir().join(FOLDER);
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(format!("{}{HOLDER}", holder.token));
    fs::write(path, serde_json::to_vec(holder).unwrap()).unwrap();
}

#[test]
fn one_of_two_processes_gets_a_cell() {
    let (_dir, store) = store();
    let mut first = Claims::begin(&store, PACE).unwrap();
    let mut second = Claims::begin(&store, PACE).unwrap();
    assert_eq!(first.take("a").unwrap(), Taken::Mine);
    assert_eq!(first.take("a").unwrap(), Taken::Mine);
    let Taken::Theirs(holder) = second.take("a").unwrap() else {
        panic!("both have it");
    };
    assert_eq!(holder.pid, std::process::id());
    let at_work: Vec<u64> = (at_work(store.dir()).unwrap().iter())
        .map(|(_, n)| *n)
        .collect();
    assert_eq!(at_work.iter().sum::<u64>(), 1);
    assert_eq!(at_work.len(), 2);
    // What is not one's own cannot be given back.
    second.release("a");
    assert!(matches!(second.take("a").unwrap(), Taken::Theirs(_)));
    first.release("a");
    assert_eq!(second.take("a").unwrap(), Taken::Mine);
    drop((first, second));
    assert!(claim_files(&store).is_empty(), "{:?}", claim_files(&store));
}

#[test]
fn no_cell_is_given_twice_however_many_ask() {
    let (_dir, store) = store();
    let taken = Mutex::new(Vec::new());
    let store = &store;
    thread::scope(|scope| {
        for i in 0..8 {
            let taken = &taken;
            scope.spawn(move || {
                let mut claims = Claims::begin(store, PACE).unwrap();
                for j in 0..40 {
                    let key = format!("k{}", (j * (i + 1)) % 40);
                    if claims.take(&key).unwrap() == Taken::Mine {
                        taken.lock().unwrap().push((i, key));
                    }
                }
                // Claims end with their holder: keep it until all have asked.
                thread::sleep(Duration::from_millis(300));
            });
        }
    });
    let taken = taken.into_inner().unwrap();
    let distinct: BTreeSet<&(i32, String)> = taken.iter().collect();
    let keys: BTreeSet<&String> = taken.iter().map(|(_, key)| key).collect();
    assert_eq!((keys.len(), distinct.len()), (40, 40));
}

#[test]
fn claims_of_a_process_of_this_machine_end_with_it() {
    let (_dir, store) = store();
    let mut child = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let started = after.split_whitespace().nth(19).unwrap().parse().unwrap();
    let pid = child.id();
    foreign(&store, "a", |holder| {
        (holder.pid, holder.started) = (pid, started)
    });
    let mut claims = Claims::begin(&store, PACE).unwrap();
    thread::sleep(PACE.patience * 2);
    // It says nothing, and it is there: another process may be stopped, or busy.
    assert!(matches!(claims.take("a").unwrap(), Taken::Theirs(_)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(claims.take("a").unwrap(), Taken::Mine);
}

#[test]
fn a_number_that_another_process_has_now_is_no_sign_of_life() {
    let (_dir, store) = store();
    foreign(&store, "a", |holder| holder.started += 1);
    let mut claims = Claims::begin(&store, PACE).unwrap();
    // The sweep at the beginning has removed both files.
    assert_eq!(claim_files(&store).len(), 1);
    assert_eq!(claims.take("a").unwrap(), Taken::Mine);
}

#[test]
fn holders_on_other_machines_live_as_long_as_their_counter_moves() {
    let (_dir, store) = store();
    let mut holder = foreign(&store, "a", |holder| {
        holder.boot = "another boot".to_owned();
        holder.pid = 1;
    });
    let mut claims = Claims::begin(&store, PACE).unwrap();
    for _ in 0..6 {
        assert!(matches!(claims.take("a").unwrap(), Taken::Theirs(_)));
        thread::sleep(PACE.patience / 3);
        holder.beat += 1;
        write(&store, &holder);
    }
    assert!(matches!(claims.take("a").unwrap(), Taken::Theirs(_)));
    thread::sleep(PACE.patience + Duration::from_millis(50));
    assert_eq!(claims.take("a").unwrap(), Taken::Mine);
}

#[test]
fn a_claim_without_a_holder_is_free() {
    let (_dir, store) = store();
    let holder = foreign(&store, "a", |holder| holder.boot.clear());
    let path = store
        .dir()
        .join(FOLDER)
        .join(format!("{}{HOLDER}", holder.token));
    fs::remove_file(path).unwrap();
    let mut claims = Claims::begin(&store, PACE).unwrap();
    assert_eq!(claims.take("a").unwrap(), Taken::Mine);
}

#[test]
fn what_nobody_can_ask_about_is_rubbish_after_a_while() {
    let (_dir, store) = store();
    foreign(&store, "a", |holder| {
        holder.boot = "another boot".to_owned()
    });
    let mut claims = Claims::begin(&store, PACE).unwrap();
    assert_eq!(claims.take("b").unwrap(), Taken::Mine);
    let day = Duration::from_secs(86_400);
    assert!(left_behind(store.dir(), day).unwrap().is_empty());
    // The heart of this process goes on; the other's files do not change.
    thread::sleep(Duration::from_millis(200));
    let left = left_behind(store.dir(), Duration::from_millis(150)).unwrap();
    let names: Vec<String> = left
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left.len(), 2, "{names:?}");
    assert!(names.contains(&"a.claim".to_owned()), "{names:?}");
}
