//! Many long lists of targets at once: answered or refused, within bounded memory, and others are unharmed.

use serde_json::{Value, json};

use crate::app::App;
use crate::demo::rows;

/// A request for one of 100,000 targets, which no other `list` has.
fn among(list: usize) -> Value {
    let targets: Vec<String> = (0..100_000).map(|target| format!("{list}a{target}")).collect();
    json!({"prompt": [5, 6, 7], "max_tokens": 16, "structured_outputs": {"choice": targets}})
}

#[tokio::test]
async fn a_flood_of_long_lists_of_targets_is_answered_or_refused_and_harms_nobody() {
    let kept = 3_000_000;
    let app = App::start(&format!(
        "[limits]\nqueued_rows = 4\nprompts = 4\ntotal_choices = 4\nrunning_rows = 4\ncached_form_bytes = {kept}\n"
    ));
    let plain = json!({"prompt": rows()[1].input_ids, "max_tokens": 12, "temperature": 0});
    let alone = app.post(&plain).await.choice().text;
    let flood: Vec<_> = (0..6).map(|list| app.spawn(&among(list))).collect();
    for _ in 0..4 {
        let mut answer = app.post(&plain).await;
        while answer.status == 429 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            answer = app.post(&plain).await;
        }
        assert_eq!(answer.choice().text, alone);
    }
    let mut answered = 0;
    for (list, one) in flood.into_iter().enumerate() {
        let answer = one.await.unwrap();
        if answer.status == 200 {
            answered += 1;
            let text = answer.choice().text;
            let number = text.strip_prefix(&format!("{list}a")).and_then(|rest| rest.parse::<u32>().ok());
            assert!(number.is_some_and(|number| number < 100_000), "{text:?}");
        } else {
            assert_eq!(answer.status, 429, "{}", answer.text);
        }
    }
    assert!(answered >= 1, "{answered} lists");
    app.idle().await;
    assert_eq!(app.engine().free_slots(), 4);
    let mut longer = among(7);
    longer["structured_outputs"]["choice"].as_array_mut().unwrap().push(json!("one more"));
    let refused = app.post(&longer).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
}
