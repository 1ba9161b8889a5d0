//! What Jira answers with: an issue of 1 KiB, a search page of 1 MiB, and a file that a user attached. Names, links and
//! texts have about the shares that Jira's own examples have.

#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench may stop at the first surprise")]

use std::fmt::Write as _;

/// The origin by which the product names itself in its links.
pub const SITE: &str = "https://acme.atlassian.net";
/// As Jira labels its answers.
pub const JSON: &str = "application/json;charset=UTF-8";
/// As it labels an attachment of which it knows nothing else.
pub const FILE: &str = "application/octet-stream";
/// Bytes of the small answer.
pub const SMALL: usize = 1024;
/// Bytes of the large answers.
pub const LARGE: usize = 1024 * 1024;

/// What people write.
const TEXT: &str = "The window does not close when it is told to; it did in the last release. ";

/// One issue with all its fields, as Jira writes it into a search page.
pub fn issue(out: &mut String, site: &str, number: usize) {
    open_issue(out, site, number);
    for role in ["creator", "reporter", "assignee"] {
        user(out, site, role);
        out.push(',');
    }
    let _ = write!(
        out,
        "\"description\":{{\"type\":\"doc\",\"version\":1,\"content\":[{{\"type\":\"paragraph\",\"content\":[{{\"type\":\
         \"text\",\"text\":\"{}\"}}]}}]}},\"attachment\":[{{\"self\":\"{site}/rest/api/3/attachment/1\",\"content\":\
         \"{site}/rest/api/3/attachment/content/1\",\"size\":23123}}],\"customfield_10010\":null,\"labels\":[\"a\",\"b\"]}}}}",
        "The window does not close when \\\"Cancel\\\" is pressed; it did in the last release. ".repeat(6)
    );
}

/// An issue of which a few fields were asked for: exactly [`SMALL`] bytes, by the length of its summary.
pub fn small_issue() -> String {
    let mut text = String::new();
    open_issue(&mut text, SITE, 10001);
    user(&mut text, SITE, "assignee");
    text.push_str(",\"summary\":\"");
    let end = "\"}}";
    let room = SMALL.checked_sub(text.len() + end.len()).expect("room for a summary");
    text.extend(TEXT.chars().cycle().take(room));
    text.push_str(end);
    valid(text, SMALL)
}

/// A page of issues: exactly [`LARGE`] bytes. The last few are spaces, less than an issue has.
pub fn search_page() -> String {
    let end = "],\"nextPageToken\":\"CAEaAggD\",\"isLast\":false}";
    let mut page = String::from("{\"issues\":[");
    let mut next = String::new();
    for number in 0.. {
        next.clear();
        next.push_str(if number > 0 { "," } else { "" });
        issue(&mut next, SITE, number);
        if page.len() + next.len() + end.len() > LARGE {
            break;
        }
        page.push_str(&next);
    }
    page.push_str(end);
    page.extend(std::iter::repeat_n(' ', LARGE - page.len()));
    valid(page, LARGE)
}

/// What an upload is answered with.
pub fn attachments() -> String {
    let mut text = format!("[{{\"self\":\"{SITE}/rest/api/3/attachment/10001\",\"id\":\"10001\",");
    user(&mut text, SITE, "author");
    let _ = write!(
        text,
        ",\"filename\":\"heap.bin\",\"size\":{LARGE},\"mimeType\":\"{FILE}\",\"created\":\"2026-11-24T09:12:44.000+0000\",\
         \"content\":\"{SITE}/rest/api/3/attachment/content/10001\"}}]"
    );
    let length = text.len();
    valid(text, length)
}

/// An attachment of [`LARGE`] bytes that are no text.
pub fn file() -> Vec<u8> {
    (0..LARGE).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

fn open_issue(out: &mut String, site: &str, number: usize) {
    let _ = write!(
        out,
        "{{\"expand\":\"operations,changelog\",\"id\":\"{number}\",\"self\":\"{site}/rest/api/3/issue/{number}\",\
         \"key\":\"ED-{number}\",\"fields\":{{\"issuetype\":{{\"self\":\"{site}/rest/api/3/issuetype/1\",\"id\":\"1\",\
         \"iconUrl\":\"{site}/images/icons/bug.png\",\"name\":\"Bug\",\"subtask\":false}},\
         \"project\":{{\"self\":\"{site}/rest/api/3/project/EX\",\"key\":\"EX\",\"name\":\"Example\"}},"
    );
}

fn user(out: &mut String, site: &str, role: &str) {
    let _ = write!(
        out,
        "\"{role}\":{{\"self\":\"{site}/rest/api/3/user?accountId=5b10a2844c20165700ede21g\",\
         \"accountId\":\"5b10a2844c20165700ede21g\",\"avatarUrls\":{{\"48x48\":\"https://avatars.example/48.png\",\
         \"24x24\":\"https://avatars.example/24.png\"}},\"displayName\":\"Mia Krystof\",\"active\":false,\
         \"timeZone\":\"Australia/Sydney\",\"accountType\":\"atlassian\"}}"
    );
}

/// A body that is no JSON, or of another size than its case says, would measure something else.
fn valid(text: String, bytes: usize) -> String {
    assert_eq!(text.len(), bytes);
    serde_json::from_str::<serde::de::IgnoredAny>(&text).expect("JSON");
    text
}
