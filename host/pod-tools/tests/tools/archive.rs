//! `url-fetch` of archives, friendly and hostile.

use std::fs;
use std::io::{Cursor, Read, Write};

use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;

use crate::tool::Pod;
use crate::web::{Response, Web};

/// A tar of these entries: type, mode, name, content or target of a link.
fn tarball(entries: &[(EntryType, u32, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, mode, name, content) in entries {
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        // as the bytes are, where the library would refuse
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        if is_link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let data = if is_link { "" } else { content };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: impl Read) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

fn zipped(entries: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default().unix_permissions(mode & 0o7777);
        if mode & 0o170000 == 0o120000 {
            writer.add_symlink(*name, *content, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

fn friendly() -> Vec<u8> {
    tarball(&[
        (EntryType::Directory, 0o700, "./docs/", ""),
        (EntryType::Regular, 0o600, "docs/guide.md", "guide"),
        (EntryType::Regular, 0o700, "bin/run.sh", "#!/bin/sh"),
        (EntryType::Symlink, 0o777, "docs/latest.md", "guide.md"),
        (EntryType::Symlink, 0o777, "bin/docs", "../docs"),
        (EntryType::Link, 0o600, "same.md", "docs/guide.md"),
    ])
}

/// A Pod that unpacks these bytes into `/workspace/lib`.
fn pod(archive: Vec<u8>) -> Pod {
    let web = Web::http(move |_| Response::ok(archive.clone()));
    let pod = Pod::new();
    let target = pod.path("workspace/lib").display().to_string();
    pod.with(&[("URL_SOURCE", &web.url("/a")), ("URL_TARGET", &target), ("URL_UNPACK", "true")])
        .served_by(web)
}

#[test]
fn lays_out_tar_plain_and_compressed() {
    let tar = friendly();
    let zst = zstd::encode_all(Cursor::new(&tar), 1).unwrap();
    for archive in [gzipped(Cursor::new(&tar)), zst, tar] {
        let pod = pod(archive);
        assert_eq!(pod.succeeds("url-fetch"), "");
        assert_eq!(pod.list("workspace/lib"), ["bin", "docs", "same.md"]);
        for path in ["docs/guide.md", "docs/latest.md", "bin/docs/guide.md", "same.md"] {
            assert_eq!(pod.read(&format!("workspace/lib/{path}")), "guide");
        }
        for (path, mode) in [("", 0o777), ("docs", 0o777), ("docs/guide.md", 0o666), ("bin/run.sh", 0o777)] {
            assert_eq!(pod.mode(&format!("workspace/lib/{path}")), mode, "{path}");
        }
    }
}

#[test]
fn lays_out_zip() {
    let pod = pod(zipped(&[
        ("docs/", 0o700, ""),
        ("docs/guide.md", 0o600, "guide"),
        ("run.sh", 0o755, "#!/bin/sh"),
        ("latest", 0o120777, "docs/guide.md"),
    ]));
    pod.succeeds("url-fetch");
    assert_eq!(
        (pod.read("workspace/lib/docs/guide.md"), pod.read("workspace/lib/latest")),
        ("guide".into(), "guide".into())
    );
    assert_eq!((pod.mode("workspace/lib/docs/guide.md"), pod.mode("workspace/lib/run.sh")), (0o666, 0o777));
}

#[test]
fn runs_twice_and_gives_files_the_mode_that_the_user_wants() {
    let pod = pod(tarball(&[
        (EntryType::Regular, 0o755, "a", "1"),
        (EntryType::Symlink, 0o777, "b", "a"),
        (EntryType::Link, 0o755, "c", "a"),
        (EntryType::Link, 0o755, "d", "b"),
    ]));
    pod.succeeds("url-fetch");
    let pod = pod.with(&[("URL_FILE_MODE", "288")]);
    pod.succeeds("url-fetch");
    assert_eq!((pod.mode("workspace/lib/a"), pod.mode("workspace/lib/c")), (0o440, 0o440));
    assert_eq!(pod.list("workspace/lib"), ["a", "b", "c", "d"]);
}

#[test]
fn a_second_run_keeps_the_archive_and_what_was_written_into_it() {
    let pod = pod(friendly());
    pod.succeeds("url-fetch");
    fs::write(pod.path("workspace/lib/docs/guide.md"), "a Task's own file").unwrap();
    assert!(pod.succeeds("url-fetch").ends_with("/workspace/lib is there already\n"));
    assert_eq!(pod.read("workspace/lib/docs/guide.md"), "a Task's own file");
}

#[test]
fn a_checksum_is_of_the_archive() {
    let pod = pod(friendly()).with(&[("URL_SHA256", &"0".repeat(64))]);
    assert!(pod.fails("url-fetch").contains("its SHA-256 is"));
    assert_eq!(pod.list("workspace"), [""; 0]);
}

#[test]
fn what_leads_outside_is_refused_and_nothing_is_written() {
    use EntryType::{Fifo, Link, Regular, Symlink};
    let outside = "it lies outside";
    let link = "it is a link that leads outside";
    for (kind, name, content, words) in [
        (Regular, "../evil", "x", outside),
        (Regular, "a/../../evil", "x", outside),
        (Regular, "/tmp/never", "x", outside),
        (Symlink, "evil", "/etc/passwd", link),
        (Symlink, "evil", "..", link),
        (Symlink, "sub/evil", "../../home", link),
        (Symlink, "evil", "sub/../../home", link),
        (Link, "evil", "/etc/passwd", outside),
        (Link, "evil", "../home", outside),
        (Fifo, "evil", "", "it is neither a file, a directory nor a link"),
    ] {
        let archive = tarball(&[(Regular, 0o644, "first", "1"), (kind, 0o644, name, content)]);
        let pod = pod(gzipped(Cursor::new(archive)));
        let message = pod.fails("url-fetch");
        assert!(message.ends_with(&format!(" of the archive is refused: {words}")), "{message}");
        assert!(pod.list("home").is_empty() && pod.list("workspace").is_empty(), "{name}");
    }
    for (name, mode, content) in [("../evil", 0o644, "x"), ("/evil", 0o644, "x"), ("evil", 0o120777, "/etc")]
    {
        let pod = pod(zipped(&[(name, mode, content)]));
        assert!(pod.fails("url-fetch").contains("of the archive is refused: it"));
        assert_eq!(pod.list("workspace"), [""; 0]);
    }
}

#[test]
fn nothing_is_written_through_a_link_of_the_archive() {
    let archive = tarball(&[
        (EntryType::Directory, 0o755, "docs", ""),
        (EntryType::Symlink, 0o777, "door", "docs"),
        (EntryType::Regular, 0o644, "door/a", "x"),
    ]);
    let pod = pod(archive);
    let message = pod.fails("url-fetch");
    assert!(
        message.ends_with(
            "cannot write @/workspace/lib/door: a symbolic link is in the way; a directory is needed there"
        ),
        "{message}"
    );
    assert_eq!(pod.list("workspace"), [""; 0], "what was written before it is gone");
}

#[test]
fn what_lies_there_already_stays() {
    let pod = pod(friendly());
    fs::create_dir_all(pod.path("workspace/lib/docs")).unwrap();
    fs::write(pod.path("workspace/lib/docs/guide.md"), "mine").unwrap();
    let message = pod.fails("url-fetch");
    assert!(message.ends_with("cannot write @/workspace/lib/docs/guide.md: something else lies there already; choose another mountPath"), "{message}");
    assert_eq!(pod.read("workspace/lib/docs/guide.md"), "mine");
    assert_eq!(
        (pod.list("workspace/lib"), pod.list("workspace/lib/docs")),
        (vec!["docs".to_owned()], vec!["guide.md".to_owned()])
    );
    let twice = tarball(&[(EntryType::Regular, 0o644, "a", "1"), (EntryType::Regular, 0o644, "./a", "2")]);
    let message = crate::archive::pod(twice).fails("url-fetch");
    assert!(message.ends_with("the archive holds \"a\" twice"), "{message}");
}

#[test]
fn bombs_are_refused_before_anything_is_written() {
    let names: Vec<String> = (0..10_001).map(|i| format!("f{i}")).collect();
    let many: Vec<_> = names.iter().map(|name| (EntryType::Regular, 0o644, name.as_str(), "")).collect();
    let mut header = Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size((1 << 30) + 1);
    header.set_cksum();
    let zeros = header.as_bytes().chain(std::io::repeat(0).take((1 << 30) + 2048));
    let mut long_name = Header::new_gnu();
    long_name.set_path("././@LongLink").unwrap();
    long_name.set_entry_type(EntryType::GNULongName);
    long_name.set_size(2 << 20);
    long_name.set_cksum();
    let name = long_name.as_bytes().chain(std::io::repeat(b'a').take(2 << 20));
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_level(Some(1)).large_file(true);
    zip.start_file("zeros", options).unwrap();
    std::io::copy(&mut std::io::repeat(0).take((1 << 30) + 1), &mut zip).unwrap();
    let zipped_zeros = zip.finish().unwrap().into_inner();
    for (archive, words) in [
        (zipped_zeros, "the archive unpacks to more than 1024 MiB"),
        (gzipped(Cursor::new(tarball(&many))), "the archive has more than 10000 entries"),
        (gzipped(zeros), "the archive unpacks to more than 1024 MiB"),
        (gzipped(name), "the archive has a header without end"),
        (
            zipped(&names.iter().map(|name| (name.as_str(), 0o644, "")).collect::<Vec<_>>()),
            "the archive has more than 10000 entries",
        ),
    ] {
        let pod = pod(archive);
        let message = pod.fails("url-fetch");
        assert!(message.ends_with(words), "{message}");
        assert_eq!(pod.list("workspace"), [""; 0]);
    }
}

#[test]
fn what_is_no_archive_is_said() {
    for content in ["", "<html>Sign in</html>", "PK\u{3}\u{4}broken", "\u{1f}"] {
        let message = pod(content.into()).fails("url-fetch");
        assert!(message.contains("it cannot be unpacked as"), "{message}");
    }
    let mut cut = gzipped(Cursor::new(friendly()));
    cut.truncate(cut.len() / 2);
    assert!(pod(cut).fails("url-fetch").contains("it cannot be unpacked as"));
}
