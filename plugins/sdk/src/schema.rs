//! The schema of what a payload or settings are read as: one source for both.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

/// JSON Schema 2020-12 of a type, written out: the host takes no `$ref`. For [`ContextType::config_schema`](crate::ContextType)
/// and `settings_schema`.
pub fn schema_of<T: JsonSchema>() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
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
