package plugin

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// unlike says where a type is unlike the schema of what is read into it. encoding/json is silent about both: a field of the type
// that users may not write, and one of the schema that nobody reads. Empty: nowhere.
func unlike(schema string, what reflect.Type) string {
	var parsed any
	if err := json.Unmarshal([]byte(schema), &parsed); err != nil {
		// the host says so
		return ""
	}
	found := differences("", parsed, what)
	if len(found) == 0 {
		return ""
	}
	return strings.Join(found, "; ") + ": mend the tags `json:\"…\"` or the schema"
}

func differences(place string, schema any, what reflect.Type) (found []string) {
	for what.Kind() == reflect.Pointer {
		what = what.Elem()
	}
	object, _ := schema.(map[string]any)
	if object == nil || reflect.PointerTo(what).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	switch what.Kind() {
	case reflect.Slice, reflect.Array:
		return differences(place+"[]", object["items"], what.Elem())
	case reflect.Map:
		return differences(place+".*", object["additionalProperties"], what.Elem())
	}
	properties, _ := object["properties"].(map[string]any)
	if properties == nil || what.Kind() != reflect.Struct {
		return nil
	}
	at := func(name string) string { return strings.TrimPrefix(place+"."+name, ".") }
	fields := fieldsOf(what)
	names := slices.Sorted(maps.Keys(properties))
	for _, field := range fields {
		// as encoding/json finds it
		known := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, field.name) })
		if known >= 0 {
			found = append(found, differences(place+"."+names[known], properties[names[known]], field.what)...)
		} else if isClosed(object) {
			found = append(found, fmt.Sprintf("%s has the field %s, and the schema has no %q", what, field.own, at(field.name)))
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(fields, func(field field) bool { return strings.EqualFold(name, field.name) }) {
			found = append(found, fmt.Sprintf("the schema has %q, and %s no field with the tag json:%q", at(name), what, name))
		}
	}
	return found
}

// Whether all fields of an object are in its `properties`.
func isClosed(schema map[string]any) bool {
	for _, other := range []string{"allOf", "anyOf", "oneOf", "if", "dependentSchemas", "patternProperties"} {
		if schema[other] != nil {
			return false
		}
	}
	return schema["additionalProperties"] == nil || schema["additionalProperties"] == false
}

type field struct {
	name string
	what reflect.Type
	// how it stands in its struct
	own string
}

// What encoding/json reads into a struct.
func fieldsOf(what reflect.Type) (fields []field) {
	for one := range what.Fields() {
		name, _, _ := strings.Cut(one.Tag.Get("json"), ",")
		inner := one.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case one.Tag.Get("json") == "-":
		case one.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			fields = append(fields, fieldsOf(inner)...)
		case !one.IsExported():
		case name == "":
			fields = append(fields, field{one.Name, one.Type, one.Name + " without a tag json"})
		default:
			fields = append(fields, field{name, one.Type, fmt.Sprintf("%s with the tag json:%q", one.Name, name)})
		}
	}
	return fields
}
