//! Templates against what transformers makes of them, the plain form, and the limits.

use serde_json::Value;

use super::super::TemplateValue;
use super::*;

const FIXTURE: &str = include_str!("../../../tests/fixtures/chat_templates.json");
const STEPS: u64 = 100_000;
const BYTES: usize = 1 << 16;

fn message(role: &str, content: &str) -> ChatMessage {
    ChatMessage { role: role.to_owned(), content: content.to_owned(), name: None }
}

fn conversation(messages: Vec<ChatMessage>) -> Conversation {
    Conversation { param: "messages", messages, add_generation_prompt: true, variables: Vec::new() }
}

fn compile(text: &str) -> ChatTemplate {
    ChatTemplate::compile(text, Vec::new(), STEPS).unwrap()
}

fn render(text: &str) -> Result<String, RenderError> {
    compile(text).render(&conversation(vec![message("user", "Hello")]), BYTES)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn of_case(case: &Value) -> Conversation {
    let messages = case["messages"].as_array().unwrap().iter().map(|message| ChatMessage {
        role: text(&message["role"]),
        content: text(&message["content"]),
        name: message["name"].as_str().map(str::to_owned),
    });
    let variables = case["variables"].as_object().unwrap().iter().map(|(name, value)| {
        let value = value.as_bool().map_or_else(|| TemplateValue::Text(text(value)), TemplateValue::Boolean);
        (name.clone(), value)
    });
    Conversation {
        param: "messages",
        messages: messages.collect(),
        add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
        variables: variables.collect(),
    }
}

#[test]
fn templates_are_rendered_as_transformers_renders_them() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let tokens = fixture["special_tokens"].as_object().unwrap();
    let tokens: Vec<_> = tokens.iter().map(|(name, token)| (name.clone(), text(token))).collect();
    let mut count = 0;
    for template in fixture["templates"].as_array().unwrap() {
        let compiled = ChatTemplate::compile(&text(&template["template"]), tokens.clone(), STEPS).unwrap();
        for case in template["cases"].as_array().unwrap() {
            let expected = match case["raises"].as_str() {
                Some(message) => Err(RenderError::Raised(message.to_owned())),
                None => Ok(text(&case["expected"])),
            };
            assert_eq!(compiled.render(&of_case(case), BYTES), expected, "{}: {case}", template["name"]);
            count += 1;
        }
    }
    assert!(count > 60, "{count} cases");
}

#[test]
fn the_plain_form_is_the_text_alone_or_paragraphs_with_names() {
    let plain = ChatTemplate::plain(STEPS);
    let (system, user) = (message("system", "Be brief."), message("user", "One\n"));
    let turns = vec![system.clone(), user.clone(), message("assistant", "Two"), message("user", "Three")];
    let text = |messages: Vec<ChatMessage>| plain.render(&conversation(messages), BYTES).unwrap();
    assert!(plain.needs_frame() && !compile("").needs_frame());
    assert_eq!(text(vec![user.clone()]), "One\n");
    assert_eq!(text(vec![system, user]), "Be brief.\n\nOne\n");
    let all = "Be brief.\n\nUser: One\n\n\nAssistant: Two\n\nUser: Three";
    assert_eq!(text(turns.clone()), format!("{all}\n\nAssistant:"));
    let closed = Conversation { add_generation_prompt: false, ..conversation(turns) };
    assert_eq!(plain.render(&closed, BYTES).unwrap(), all);
}

#[test]
fn a_text_may_be_as_long_as_its_limit_and_no_longer() {
    let template = compile("{% for n in range(10) %}é{% endfor %}");
    let asked = conversation(vec![message("user", "")]);
    assert_eq!(template.render(&asked, 20).unwrap(), "é".repeat(10));
    assert_eq!(template.render(&asked, 19), Err(RenderError::TooLong { limit_bytes: 19 }));
}

#[test]
fn loops_and_recursion_end_at_their_limits() {
    let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a %}{% endfor %}{% endfor %}";
    assert_eq!(render(endless), Err(RenderError::TooManySteps { steps: STEPS }));
    let recursive = "{% macro again(n) %}{{ again(n + 1) }}{% endmacro %}{{ again(0) }}";
    assert!(matches!(render(recursive), Err(RenderError::Failed(_))));
    assert!(matches!(render("{% include 'chat' %}"), Err(RenderError::Failed(_))));
    assert!(matches!(render("{{ 'x' * 99999999999 }}"), Err(RenderError::Failed(_))));
    assert!(matches!(render("{{ range(99999999) | list }}"), Err(RenderError::Failed(_))));
}

#[test]
fn json_of_lists_that_hold_each_other_again_and_again_ends_at_its_limit() {
    let doubled = "{% set ns = namespace(all=[]) %}{% for n in range(60) %}\
                   {% set ns.all = [ns.all, ns.all] %}{% endfor %}\
                   {{ ns.all | tojson }}";
    let Err(RenderError::Failed(problem)) = render(doubled) else { panic!("it failed") };
    assert!(problem.contains("tojson: more than"), "{problem}");
}

#[test]
fn no_file_can_be_read() {
    for template in ["{% include '/etc/passwd' %}", "{% extends '../config.toml' %}", "{% import 'x' as x %}"] {
        assert!(matches!(render(template), Err(RenderError::Failed(_))), "{template}");
    }
}

#[test]
fn errors_of_a_template_name_its_line_and_those_it_raises_are_its_own_words() {
    let error = ChatTemplate::compile("one\n{% if %}", Vec::new(), STEPS).unwrap_err().to_string();
    assert!(error.contains("chat:2"), "{error}");
    assert!(ChatTemplate::compile("{%}", Vec::new(), STEPS).is_err(), "its end is not in its beginning");
    assert!(ChatTemplate::compile(&" ".repeat(TEMPLATE_BYTES + 1), Vec::new(), STEPS).is_err());
    assert_eq!(render("{{ raise_exception('No ' ~ 7) }}"), Err(RenderError::Raised("No 7".to_owned())));
    let Err(RenderError::Failed(problem)) = render("one\n{{ nothing.more }}") else { panic!("it failed") };
    assert!(problem.contains("undefined value"), "{problem}");
}

#[test]
fn variables_of_a_request_hide_none_of_the_templates_own() {
    let variables = vec![
        ("bos_token".to_owned(), TemplateValue::Text("mine".to_owned())),
        ("messages".to_owned(), TemplateValue::Integer(7)),
        ("deep".to_owned(), TemplateValue::Number(0.5)),
    ];
    let asked = Conversation { variables, ..conversation(vec![message("user", "Hello")]) };
    let template = compile("{{ bos_token }} {{ messages[0].content }} {{ deep }}");
    assert_eq!(template.render(&asked, BYTES).unwrap(), "mine Hello 0.5");
}

#[test]
fn the_time_is_told_in_the_format_asked_for() {
    assert_eq!(render("{{ strftime_now('%Y') | length }}").unwrap(), "4");
    assert!(matches!(render("{{ strftime_now('%') }}"), Err(RenderError::Failed(_))));
}

#[test]
fn a_line_that_is_too_long_to_name_places_in_is_refused() {
    // An error at a place that 16 bits cannot name used to be a panic.
    let broken = format!("{}{{{{ ' }}}}", " ".repeat(70_000));
    let refused = ChatTemplate::compile(&broken, Vec::new(), STEPS).unwrap_err();
    assert!(matches!(refused, CompileError::LongLine { characters: 70_007 }), "{refused}");
    let short = format!("{}{{{{ ' }}}}", " ".repeat(60_000));
    assert!(matches!(ChatTemplate::compile(&short, Vec::new(), STEPS), Err(CompileError::Syntax(_))));
}
