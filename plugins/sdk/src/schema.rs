//! The schema of what a payload or settings are read as: one source for both.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::ReplaceUnevaluatedProperties;

/// JSON Schema 2020-12 of a type, written out: the host takes no `$ref` and no `unevaluatedProperties`. For
/// [`ContextType::config_schema`](crate::ContextType) and `settings_schema`.
pub fn schema_of<T: JsonSchema>() -> String {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(ReplaceUnevaluatedProperties::default());
    settings.into_generator().into_root_schema_for::<T>().as_value().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[derive(schemars::JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "read by nobody")]
    struct Config {
        /// Who is asked
        sent_to: Vec<Named>,
        #[serde(default)]
        #[schemars(range(max = 7))]
        times: u8,
    }

    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "read by nobody")]
    struct Named {
        #[schemars(extend("x-kubeopencode-secret" = true))]
        name: String,
    }

    #[derive(schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by nobody")]
    struct Flat {
        name: String,
        #[serde(flatten)]
        source: Source,
    }

    #[derive(schemars::JsonSchema)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "made by nobody")]
    enum Source {
        Url(String),
        ConfigMap(String),
    }

    #[test]
    fn what_is_flattened_is_checked_by_words_that_the_host_takes() {
        let schema: Value = serde_json::from_str(&super::schema_of::<Flat>()).unwrap();
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["url"], json!(true));
        assert!(!schema.to_string().contains("unevaluated"), "{schema}");
    }

    #[test]
    fn types_of_fields_are_written_out() {
        let schema: Value = serde_json::from_str(&super::schema_of::<Config>()).unwrap();
        assert_eq!(schema["required"], json!(["sentTo"]));
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["sentTo"]["description"], json!("Who is asked"));
        let name = json!({"type": "string", "x-kubeopencode-secret": true});
        assert_eq!(schema["properties"]["sentTo"]["items"]["properties"]["name"], name);
        assert_eq!(schema["properties"]["times"]["maximum"], json!(7));
        assert!(!schema.to_string().contains("$ref"), "{schema}");
    }
}
