//! The body of a request, in OpenAI's fields and vLLM's for whatever OpenAI lacks.

use serde_json::{Map, Value, json};

use super::prompts::Prompt;
use crate::scenario::{Endpoint, RequestKind};

/// The parts of a body.
pub struct Body<'a> {
    /// The kind of the request.
    pub kind: &'a RequestKind,
    /// Name of the model.
    pub model: &'a str,
    /// Source, or messages of a chat.
    pub prompt: &'a Prompt,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// JSON schema that the answer follows.
    pub schema: Option<&'a Value>,
    /// Fields that win over all others.
    pub extra: &'a Map<String, Value>,
}

impl Body<'_> {
    /// The fields of the body.
    pub fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("model".to_owned(), self.model.into());
        match self.kind.endpoint {
            Endpoint::Embeddings => {
                fields.insert("input".to_owned(), self.prompt.source());
            }
            Endpoint::Completions => {
                fields.insert("prompt".to_owned(), self.prompt.source());
                self.add_generation(&mut fields);
            }
            Endpoint::Chat => {
                fields.insert("messages".to_owned(), self.prompt.messages());
                self.add_generation(&mut fields);
            }
        }
        fields.extend(self.extra.iter().map(|(key, value)| (key.clone(), value.clone())));
        fields
    }

    fn add_generation(&self, fields: &mut Map<String, Value>) {
        let mut put = |key: &str, value: Value| {
            fields.insert(key.to_owned(), value);
        };
        put("max_tokens", self.max_tokens.into());
        if self.kind.is_streamed() {
            put("stream", true.into());
            put("stream_options", json!({"include_usage": true}));
        }
        if self.kind.ignore_eos {
            put("ignore_eos", true.into());
        }
        if let Some(beams) = self.kind.beams {
            put("use_beam_search", true.into());
            put("n", beams.into());
        }
        if let Some(schema) = self.schema {
            let form = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}});
            put("response_format", form);
        }
    }
}

/// Number of choices, or of vectors, that a body asks for: `n` for each prompt, and for each of several beginnings.
pub fn choices(fields: &Map<String, Value>) -> usize {
    let several = |field: &str| match fields.get(field) {
        // A list of numbers is one list of token ids.
        Some(Value::Array(list)) if !list.iter().all(Value::is_number) => list.len(),
        _ => 1,
    };
    let n = fields.get("n").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    ["prompt", "input", "decoder_prompt"].into_iter().map(several).fold(n, usize::saturating_mul)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(kind: &str, prompt: &Prompt) -> Value {
        let kind: RequestKind = toml::from_str(kind).unwrap();
        let schema = json!({"type": "object"});
        let extra = match serde_json::to_value(&kind.extra).unwrap() {
            Value::Object(extra) => extra,
            other => panic!("{other}"),
        };
        let schema = kind.schema.is_some().then_some(&schema);
        let body = Body { kind: &kind, model: "m", prompt, max_tokens: 9, schema, extra: &extra };
        Value::Object(body.fields())
    }

    #[test]
    fn each_endpoint_has_its_fields() {
        let text = Prompt::Text("Hi".to_owned());
        let stream = json!({"include_usage": true});
        assert_eq!(
            body("", &text),
            json!({"model": "m", "prompt": "Hi", "max_tokens": 9, "stream": true, "stream_options": stream})
        );
        assert_eq!(
            body("endpoint = 'chat'\nstream = false", &text),
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9})
        );
        assert_eq!(body("endpoint = 'embeddings'", &Prompt::Ids(vec![4, 5])), json!({"model": "m", "input": [4, 5]}));
    }

    #[test]
    fn a_body_says_how_many_choices_it_asks_for() {
        for (fields, expected) in [
            (json!({"prompt": "a"}), 1),
            (json!({"prompt": [5, 6], "n": 3}), 3),
            (json!({"prompt": ["a", "b"], "n": 3}), 6),
            (json!({"prompt": [[5], [6], [7]]}), 3),
            (json!({"prompt": "a", "decoder_prompt": ["b", "c"], "n": 2}), 4),
            (json!({"messages": [{"role": "user"}], "n": 2}), 2),
            (json!({"input": ["a", "b"]}), 2),
        ] {
            assert_eq!(choices(fields.as_object().unwrap()), expected, "{fields}");
        }
    }

    #[test]
    fn beams_schemas_and_further_fields_are_asked_for() {
        let kind = "beams = 4\nschema = 'x.json'\nignore_eos = true\nextra = { temperature = 0.5, max_tokens = 2 }";
        let form = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}});
        assert_eq!(
            body(kind, &Prompt::Text("Hi".to_owned())),
            json!({"model": "m", "prompt": "Hi", "max_tokens": 2, "ignore_eos": true, "use_beam_search": true, "n": 4,
                   "response_format": form, "temperature": 0.5})
        );
    }
}
