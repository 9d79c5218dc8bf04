module s3-object

go 1.26

require kubeopencode.io/plugin v0.0.0

require go.bytecodealliance.org/pkg v0.2.1

replace kubeopencode.io/plugin => ../../../plugins/sdk-go
