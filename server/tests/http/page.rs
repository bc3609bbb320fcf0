//! The page at `/`: its files, what a browser may do with them, and the setting that turns it off.

use axum::body::Body;
use axum::http::{Request, header};

use crate::answer::Answer;
use crate::app::{App, Setup};

/// Paths that a file names in `src`, `href` or `from`, from the root.
fn named_files(text: &str) -> Vec<String> {
    let quoted = |mark: &str| {
        let ends = text.match_indices(mark).map(|(at, _)| &text[at + mark.len()..]);
        ends.map(|rest| rest[..rest.find('"').unwrap()].to_owned()).collect::<Vec<_>>()
    };
    let relative = |path: String| format!("/{}", path.replace("./", "page/"));
    ["src=\"", "href=\"", "from \""].into_iter().flat_map(quoted).map(relative).collect()
}

#[tokio::test]
async fn the_page_and_every_file_that_it_names_are_served_under_a_strict_policy() {
    let app = App::saying("x");
    let mut wanted = vec!["/".to_owned()];
    let mut seen = Vec::new();
    while let Some(path) = wanted.pop() {
        if seen.contains(&path) {
            continue;
        }
        let file = app.get(&path).await;
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.headers["x-content-type-options"], "nosniff");
        let policy = file.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        wanted.extend(named_files(&file.text));
        seen.push(path);
    }
    assert!(seen.len() == 10 && seen.iter().any(|path| path == "/page/main.js"), "{seen:?}");
}

#[tokio::test]
async fn nothing_in_the_page_needs_a_weaker_policy_or_another_server() {
    let app = App::saying("x");
    let page = app.get("/").await.text;
    for mark in ["<script>", "<style", " style=", " onclick=", " onload=", "javascript:"] {
        assert!(!page.contains(mark), "{mark}");
    }
    let scripts = ["main", "api", "form", "choices", "hypotheses", "alternatives"];
    let scripts = scripts.map(|name| format!("/page/{name}.js"));
    for path in ["/", "/page/style.css"].into_iter().chain(scripts.iter().map(String::as_str)) {
        let text = app.get(path).await.text;
        for mark in ["http:", "https:", "innerHTML", "insertAdjacentHTML", "eval(", "document.write"] {
            assert!(!text.contains(mark), "{path}: {mark}");
        }
    }
}

#[tokio::test]
async fn a_server_without_the_page_has_no_such_paths() {
    let app = App::saying("x");
    let head = Request::head("/").body(Body::empty()).unwrap();
    assert_eq!(Answer::of(app.send(head).await).await.status, 200);
    let (app, _hand) = App::by_hand(Setup { page: false, ..Setup::default() });
    for path in ["/", "/page/main.js", "/page/style.css"] {
        app.get(path).await.error(404, None, Some("unknown_url"));
    }
}
