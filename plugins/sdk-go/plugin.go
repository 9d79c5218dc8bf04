// Package plugin is what a context type in Go is written with. Everything under wit/ is generated of wit/plugin.wit, which is frozen:
//
//	wit-bindgen go --world context-type-plugin --pkg-name kubeopencode.io/plugin/wit ../../wit --out-dir wit     # 0.63.0
package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
	exports "kubeopencode.io/plugin/wit/exports/export_kubeopencode_plugin_context_type"
	_ "kubeopencode.io/plugin/wit/exports/wit_exports"
	wit "kubeopencode.io/plugin/wit/imports/kubeopencode_plugin_context_type"
	host "kubeopencode.io/plugin/wit/imports/kubeopencode_plugin_log"
	types "kubeopencode.io/plugin/wit/imports/kubeopencode_plugin_types"
)

// About is what a type says of itself. What is not said: any config, no settings, no capabilities, a mountPath or none.
type About struct {
	// Name is what users write as `type`: [A-Za-z][A-Za-z0-9-]{0,62}.
	Name, Version, Description string
	// Schema is the JSON Schema 2020-12 of config, without $ref. A string that names a Secret has "x-kubeopencode-secret": true.
	Schema string
	// SettingsSchema is the same of what the installer writes in the Plugin's spec.config.
	SettingsSchema string
	// Capabilities are what its plans contain beyond text, files and ConfigMaps: env, git, url, secret, init-container.
	Capabilities []string
	// Requires are features of the host without which it does not work.
	Requires []string
	// MountPath is optional, required or ignored.
	MountPath string
	// DefaultName is the name of an item that has none, as the agent sees it.
	DefaultName string
}

// What an answer consists of: every kind of it is made by a function wit.MakeAction….
type (
	Action        = wit.Action
	InitContainer = wit.InitContainer
	EnvVar        = types.EnvVar
	File          = types.File
	SecretKey     = types.SecretKey
	BroughtFile   = wit.BroughtFile
)

// Request is what a type is asked, beside its config.
type Request struct {
	wit.Request
	asked []wit.Required
	// one of them was not read yet
	unread bool
}

type contextType struct {
	descriptor types.Descriptor
	evaluate   func(*Request) ([]Action, error)
	// where the type of config is unlike its schema
	unlike func() string
}

var all []contextType

// Register makes a type of a function, in an init function: func init() { plugin.Register(about, evaluate) }.
func Register[Config any](about About, evaluate func(Config, *Request) ([]Action, error)) {
	some := func(text string) witTypes.Option[string] {
		if text == "" {
			return witTypes.None[string]()
		}
		return witTypes.Some(text)
	}
	descriptor := types.Descriptor{
		Name: about.Name, Version: about.Version, Description: about.Description, ConfigSchema: about.Schema,
		SettingsSchema: some(about.SettingsSchema), Capabilities: about.Capabilities, Requires: about.Requires,
		MountPath: about.MountPath, DefaultName: some(about.DefaultName),
	}
	if descriptor.ConfigSchema == "" {
		descriptor.ConfigSchema = "{}"
	}
	if descriptor.MountPath == "" {
		descriptor.MountPath = "optional"
	}
	all = append(all, contextType{descriptor, func(request *Request) ([]Action, error) {
		var config Config
		// the host has checked it against the schema
		if err := json.Unmarshal([]byte(request.Payload), &config); err != nil {
			return nil, fmt.Errorf("the schema takes what the type of config does not: %w", err)
		}
		return evaluate(config, request)
	}, func() string { return unlike(descriptor.ConfigSchema, reflect.TypeFor[Config]()) }})
}

func init() {
	exports.Describe = func() []types.Descriptor {
		var descriptors []types.Descriptor
		for _, one := range all {
			if unlike := one.unlike(); unlike != "" {
				refuse("%s: %s", one.descriptor.Name, unlike)
			}
			descriptors = append(descriptors, one.descriptor)
		}
		return descriptors
	}
	exports.Evaluate = func(raw wit.Request) witTypes.Result[wit.Outcome, types.PluginError] {
		outcome, err := awaited(func() (wit.Outcome, error) { return answer(&Request{Request: raw}) })
		var plain *Error
		switch {
		case err == nil:
			return witTypes.Ok[wit.Outcome, types.PluginError](outcome)
		case !errors.As(err, &plain):
			plain = &Error{types.ErrorKind_Internal, err.Error() + hint(err), ""}
		}
		field := witTypes.None[string]()
		if plain.Field != "" {
			field = witTypes.Some(plain.Field)
		}
		return witTypes.Err[wit.Outcome](types.PluginError{Kind: plain.Kind, Message: plain.Message, Field: field})
	}
}

// hint is what there is in place of the network. By its name, so that the package net is in no plugin that has no use for it.
func hint(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		if reflect.TypeOf(err).String() == "*net.OpError" {
			return " (a plugin has no network: what is to be read is asked of request, what the agent is to have is an action)"
		}
	}
	return ""
}

// refuse ends a call that has no other way to say no. The host shows the last words.
func refuse(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

// How many times in turn everything else may run before a function that waits is taken to wait for ever.
const turns = 10_000

// awaited gives what a function gives, unless it waits for what never comes: the clock stands, and nobody else is there. Without
// this, time.Sleep would ask the host again and again whether it is over.
func awaited(evaluate func() (wit.Outcome, error)) (outcome wit.Outcome, err error) {
	done := false
	go func() {
		outcome, err = evaluate()
		done = true
	}()
	for range turns {
		if done {
			return outcome, err
		}
		runtime.Gosched()
	}
	return wit.Outcome{}, errors.New("evaluate waits for what never comes: the clock of a plugin stands, so there is no time.Sleep " +
		"and no timer, and nobody but evaluate is there to write to a channel")
}

func answer(request *Request) (outcome wit.Outcome, err error) {
	defer func() {
		cause := recover()
		switch {
		// whatever it came to, a panic too: what it made of errNeeded it made without knowing what there is
		case request.unread:
			outcome, err = wit.MakeOutcomeNeeds(request.asked), nil
		case cause != nil:
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	at := slices.IndexFunc(all, func(one contextType) bool { return one.descriptor.Name == request.TypeName })
	if at < 0 {
		return outcome, fmt.Errorf("there is no type %q here", request.TypeName)
	}
	actions, err := all[at].evaluate(request)
	return wit.MakeOutcomeReady(wit.Plan{Actions: actions}), err
}

// errNeeded is what a read gives that was not made yet: return it, and the function is called again from its beginning.
var errNeeded = errors.New("to be read by the host first: return this error as it is")

// ErrMissing is what a read gives of something that is not there.
var ErrMissing = errors.New("not found")

func (request *Request) input(id string, what wit.Requirement) (wit.Resolved, error) {
	if !slices.ContainsFunc(request.asked, func(one wit.Required) bool { return one.Id == id }) {
		request.asked = append(request.asked, wit.Required{Id: id, What: what})
	}
	for _, input := range request.Inputs {
		if input.Id != id {
			continue
		}
		if input.Value.Tag() == wit.Resolved_Missing {
			return input.Value, ErrMissing
		}
		return input.Value, nil
	}
	request.unread = true
	return wit.Resolved{}, errNeeded
}

// ConfigMap reads a ConfigMap of the item's namespace: these keys, or all of them. Its error is ErrMissing, or has to be returned.
func (request *Request) ConfigMap(name string, keys ...string) (map[string][]byte, error) {
	found, err := request.input(strings.Join(append([]string{"config-map", name}, keys...), "/"), wit.MakeRequirementConfigMap(wit.ConfigMapRead{Name: name, Keys: keys}))
	if err != nil {
		return nil, err
	}
	entries := map[string][]byte{}
	for _, entry := range found.ConfigMap() {
		entries[entry.Key] = bytesOf(entry.Value)
	}
	return entries, nil
}

// Prompt reads the Task's description. Its error is ErrMissing, or has to be returned.
func (request *Request) Prompt() (string, error) {
	found, err := request.input("prompt", wit.MakeRequirementPrompt())
	if err != nil {
		return "", err
	}
	return found.Prompt(), nil
}

// Response is what a server answered.
type Response struct {
	Status  uint16
	Headers []witTypes.Tuple2[string, string]
	Body    []byte
}

// Fetch gives what a server answers. It happens in the Pod, where the function is called again. Its error has to be returned.
func (request *Request) Fetch(what wit.HttpRequest) (Response, error) {
	if !slices.Contains(request.Host.Features, "fetch") {
		message := fmt.Sprintf("KubeOpenCode %s fetches nothing for plugins: a newer one is needed", request.Host.Version)
		return Response{}, &Error{types.ErrorKind_Unsupported, message, ""}
	}
	if what.TimeoutSeconds == 0 {
		what.TimeoutSeconds = 30
	}
	body := ""
	if what.Body.Tag() == witTypes.OptionSome {
		body = what.Body.Some()
	}
	found, err := request.input("fetch/"+what.Url+" "+body, wit.MakeRequirementFetch(what))
	if err != nil {
		return Response{}, err
	}
	response := found.Response()
	return Response{response.Status, response.Headers, bytesOf(response.Body)}, nil
}

func bytesOf(content types.Content) []byte {
	if content.Tag() == types.Content_Text {
		return []byte(content.Text())
	}
	return content.Bytes()
}

// ReadSettings reads what the installer wrote in the Plugin's spec.config.
func ReadSettings[Settings any](request *Request) (settings Settings, err error) {
	for _, one := range all {
		if schema := one.descriptor.SettingsSchema; one.descriptor.Name == request.TypeName && schema.Tag() == witTypes.OptionSome {
			if unlike := unlike(schema.Some(), reflect.TypeFor[Settings]()); unlike != "" {
				return settings, fmt.Errorf("settings: %s", unlike)
			}
		}
	}
	return settings, json.Unmarshal([]byte(request.Settings), &settings)
}

// Error is what a plugin says no with. Every other error, and a panic, is a defect of the plugin.
type Error struct {
	Kind           types.ErrorKind
	Message, Field string
}

func (err *Error) Error() string { return err.Message }

// InvalidConfig: the user must change the item, at this place of config, as in "/to"; empty: at no one place.
func InvalidConfig(message, field string) error {
	return &Error{types.ErrorKind_InvalidConfig, message, field}
}

// Unsatisfied: something that the item refers to is missing or malformed: tried again when it changes.
func Unsatisfied(message, field string) error {
	return &Error{types.ErrorKind_Unsatisfied, message, field}
}

// Logf writes a line to the operator's log: at most 64 lines and 8 KiB a call.
func Logf(format string, values ...any) { host.Log(host.Level_Info, fmt.Sprintf(format, values...)) }

// Inline is text for the agent's context file; where the item has a mountPath, the content of that file.
func Inline(text string) Action { return wit.MakeActionInline(text) }

// InlineFile is the same under a name; where the item has a mountPath, a file in that folder.
func InlineFile(name, text string) Action {
	return wit.MakeActionInlineFile(wit.TextFile{Name: name, Text: text})
}

// InlineBrought is as Inline, from a file that another action of this answer brings; joined in the Pod.
func InlineBrought(path string) Action {
	return wit.MakeActionInlineBrought(BroughtFile{Path: path})
}

// WriteFile is a file; a relative path lies in the workspace.
func WriteFile(path, text string) Action {
	return wit.MakeActionWriteFile(File{Path: path, Content: types.MakeContentText(text), Mode: witTypes.None[uint32]()})
}

// RunInit runs a container before the agent, with the workspace mounted; needs the capability init-container, and its image.
func RunInit(container InitContainer) Action { return wit.MakeActionRunInit(container) }

// SetEnv is an environment variable of the agent; needs the capability env.
func SetEnv(name, value string) Action { return wit.MakeActionSetEnv(Value(name, value)) }

// Value is an environment variable in the open.
func Value(name, value string) EnvVar {
	return EnvVar{Name: name, Source: types.MakeEnvSourceValue(value)}
}

// Secret is an environment variable from a key of a Secret; needs the capability secret.
func Secret(name, secret, key string) EnvVar {
	return EnvVar{Name: name, Source: types.MakeEnvSourceSecret(SecretKey{Name: secret, Key: key})}
}
