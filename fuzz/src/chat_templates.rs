//! A checkpoint's chat template and `tokenizer_config.json`: read, compiled, and rendered for one conversation.

use std::path::Path;
use std::time::Duration;

use model::ChatFiles;
use serde_json::Value;
use server::chat_template::{ChatMessage, ChatTemplate, Conversation, TemplateValue};

use crate::seeds::{of_fixtures, repository};
use crate::target::Target;

/// The text of a chat template, or a `tokenizer_config.json`: each input is read as both.
pub const CHAT_TEMPLATES: Target = Target { name: "chat_templates", seeds, parse, patience: Duration::from_secs(10) };

/// Steps of one rendering; a published template takes some hundreds for the conversation here.
const STEPS: u64 = 5_000;
/// Bytes of a rendered text.
const TEXT_BYTES: usize = 1 << 16;

fn seeds() -> Vec<Vec<u8>> {
    let file = repository().join("server/tests/fixtures/chat_templates.json");
    let fixture = std::fs::read(file).expect("the fixture can be read");
    let fixture: Value = serde_json::from_slice(&fixture).expect("the fixture is JSON");
    let templates = fixture["templates"].as_array().expect("the fixture has templates");
    let texts = templates.iter().filter_map(|template| Some(template["template"].as_str()?.as_bytes().to_vec()));
    texts.chain(of_fixtures("tokenizer_config.json")).collect()
}

fn parse(input: &[u8]) {
    let folder = Path::new("checkpoint");
    let (settings, text) = (ChatFiles::parse(folder, Some(input), None), ChatFiles::parse(folder, None, Some(input)));
    for files in [settings, text].into_iter().flatten() {
        let Some(template) = files.template else { continue };
        let Ok(compiled) = ChatTemplate::compile(&template.text, files.special_tokens, STEPS) else { continue };
        if let Ok(text) = compiled.render(&conversation(), TEXT_BYTES) {
            assert!(text.len() <= TEXT_BYTES, "{} bytes", text.len());
        }
    }
}

fn conversation() -> Conversation {
    let message =
        |role: &str, content: &str| ChatMessage { role: role.to_owned(), content: content.to_owned(), name: None };
    Conversation {
        param: "messages",
        messages: vec![message("user", "One\u{e9}\n"), message("assistant", "Two"), message("user", " {{ 3 }} ")],
        add_generation_prompt: true,
        variables: vec![("enable_thinking".to_owned(), TemplateValue::Boolean(true))],
    }
}
