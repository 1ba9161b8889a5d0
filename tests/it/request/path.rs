//! P01–P28: one spelling of a path.

use super::*;

#[track_caller]
fn refused(targets: &[&str]) {
    for target in targets {
        check_path(target, None);
    }
}

#[track_caller]
fn judged_as(rows: &[(&str, &str)]) {
    for (target, judged) in rows {
        check_path(target, Some(judged));
    }
}

#[test]
fn p01_p02_p04_dot_segments_are_refused_in_every_spelling() {
    refused(&["/public/../admin/secrets", "/info/../private", "/..", "/.", "/./upload", "/a/./b", "/a/..", "/a/."]);
    refused(&["/user/%2e%2e/admin", "/%2E./x", "/.%2e/x", "/app/%2E./admin", "/%2e/admin", "/...", "/.../x"]);
    refused(&["/api%2e/admin/secret", "/api./admin"]);
}

#[test]
fn p03_p07_p08_encoded_slashes_and_backslashes_are_refused() {
    refused(&["/user/%2e%2e%2fadmin", "/..%2f", "/%2e%2e%5c", "/admin%2Fsecret", "/admin%2fsecret"]);
    refused(&["/admin%5csecret", "/admin%5Csecret", "/a/..\\c", "/app/\\/\\/\\admin", "/a\\b"]);
}

#[test]
fn p05_p06_empty_segments_are_refused() {
    refused(&["//host/admin", "//admin", "/data//secret", "///", "/app//../admin", "/app//../../admin", "//"]);
}

#[test]
fn p09_fragments_are_refused() {
    refused(&["/user/profile%23section1", "/%23"]);
    // A raw `#` is dropped by hyper's `Uri`; what goes upstream is written anew without it.
    check_path("/user/profile#section1", Some("/user/profile"));
}

#[test]
fn p10_an_empty_query_changes_nothing() {
    judged_as(&[("/a", "/a"), ("/a?", "/a"), ("/a??", "/a"), ("/a?#", "/a")]);
}

#[test]
fn p11_path_parameters_are_refused() {
    refused(&["/..;/admin", "/;/admin", "/admin;a=b", "/admin;a=b/xyz", "/admin%3b", "/admin%3Ba=b", "/admin%3f"]);
}

#[test]
fn p12_case_is_kept() {
    judged_as(&[("/ADMIN", "/ADMIN"), ("/HTADMIN.php", "/HTADMIN.php")]);
}

#[test]
fn p13_p25_an_encoded_unreserved_character_is_judged_and_sent_decoded() {
    judged_as(&[("/%68tadmin.php", "/htadmin.php"), ("/%61dmin", "/admin"), ("/repos/%31", "/repos/1")]);
    judged_as(&[("/a%2Db%5F%7E%2ec", "/a-b_~.c"), ("/%41?x=%41", "/A")]);
}

#[test]
fn p14_nothing_is_decoded_twice() {
    refused(&["/%252e%252e/admin", "/%252e%252e%252fadmin", "/%25c0%25ae", "/a%2541", "/a%25%34%31", "/a%25u002f"]);
    judged_as(&[("/100%25", "/100%25"), ("/100%25-sure", "/100%25-sure")]);
}

#[test]
fn p15_p16_p18_bytes_that_are_no_text_are_refused() {
    refused(&["/admin%00", "/xyz/.%00../abc", "/xyz/AAAAA%%0000/abc", "/%c0%af", "/%c0%ae%c0%ae/admin"]);
    refused(&["/%c1%9cadmin", "/%ff", "/%ed%a0%80", "/foo/bar%", "/foo/bar%1", "/%zz", "/%1g", "/a\u{2}", "/a\u{7f}"]);
    refused(&["/a b", "/a\tb", "/a%0d%0ab", "/a%09", "/a%7f", "/a%1f"]);
}

#[test]
fn p17_what_is_trimmed_from_an_end_is_refused() {
    refused(&[
        "/admin/",
        "/admin/.",
        "/admin%2f",
        "/admin%20",
        "/admin.",
        "/admin%2e",
        "/%20admin",
        "/a%20/b",
        "/a%09",
    ]);
    judged_as(&[("/", "/"), ("/a%20b", "/a%20b"), ("/.well-known/x", "/.well-known/x")]);
}

#[test]
fn p20_a_path_begins_with_a_slash() {
    refused(&["*", "Service/Method", "gate", "gate:80", "http://gate?args", "http://gate?args#frag"]);
    let star = parts("OPTIONS", "*", &[("host", "gate")]).unwrap();
    assert!(RequestView::of(&star).is_err());
}

#[test]
fn p22_the_query_is_no_part_of_the_path() {
    judged_as(&[("/protected?x=/public", "/protected"), ("/protected?x=/../public", "/protected")]);
}

#[test]
fn p24_look_alikes_are_refused_and_other_text_is_opaque() {
    refused(&["/a%ef%bc%8fb", "/%ef%bc%8e%ef%bc%8e/a", "/adm%c4%b1n", "/%c4%b0", "/%e2%84%aaey", "/%c5%bfecret"]);
    refused(&["/a%e2%80%a4", "/a%e2%88%95b", "/a%e2%80%8bb", "/a%c2%a0", "/%f0%9d%90%80", "/a%c2%85b", "/a\u{ff0f}b"]);
    refused(&["/stra%C3%9Fe"]); // full case folding makes it `strasse`
    judged_as(&[("/%E6%96%87%E5%AD%97", "/%E6%96%87%E5%AD%97"), ("/gr%C3%BCn", "/gr%C3%BCn")]);
}

#[test]
fn p28_every_byte_behind_a_path_has_a_class() {
    for byte in 1..=255_u8 {
        for (target, text) in [(format!("/a%{byte:02x}"), true), (format!("/a%{byte:02X}b"), false)] {
            let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let end = if text { "" } else { "b" };
            let expected = match byte {
                b'.' if text => None,
                _ if unreserved => Some(format!("/a{}{end}", char::from(byte))),
                0..=0x1f | 0x7f.. | b'/' | b'\\' | b';' | b'#' | b'?' => None,
                b' ' if text => None,
                _ => Some(target.clone()),
            };
            check_path(&target, expected.as_deref());
        }
    }
}
