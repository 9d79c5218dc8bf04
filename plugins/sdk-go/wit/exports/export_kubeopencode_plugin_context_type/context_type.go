// Package export_kubeopencode_plugin_context_type is where the generated code looks for what it exports. Package plugin says it.
package export_kubeopencode_plugin_context_type

import (
	witTypes "go.bytecodealliance.org/pkg/wit/types"
	context "kubeopencode.io/plugin/wit/imports/kubeopencode_plugin_context_type"
	types "kubeopencode.io/plugin/wit/imports/kubeopencode_plugin_types"
)

var (
	Describe func() []types.Descriptor
	Evaluate func(context.Request) witTypes.Result[context.Outcome, types.PluginError]
)
