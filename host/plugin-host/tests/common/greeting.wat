;; The module of a context type `Greeting` that answers every item with the text "hello", for the frame context-type.wat. Its
;; memory begins with the list of its one descriptor, from 1024 on the answer.
(core module $main
    (import "kubeopencode:plugin/log@1.0.0" "log" (func (param i32 i32 i32)))
    (import "wasi:cli/stdout@0.2.6" "get-stdout" (func (result i32)))
    (import "$root" "danger" (func))
    (memory (export "memory") 1)
    (data (i32.const 0) "\80\00\00\00\01\00\00\00")
    (data (i32.const 128) "\00\01\00\00\08\00\00\00\80\01\00\00\01\00\00\00\80\01\00\00\01\00\00\00\00\02\00\00\02\00\00\00")
    (data (i32.const 188) "\40\02\00\00\08\00\00\00")
    (data (i32.const 576) "optional")
    (data (i32.const 256) "Greeting")
    (data (i32.const 384) "1")
    (data (i32.const 512) "{}")
    (data (i32.const 1024) "\00\00\00\00\01\00\00\00\20\04\00\00\01")
    (data (i32.const 1056) "\00\00\00\00\00\08\00\00\05\00\00\00")
    (data (i32.const 2048) "hello")
    (global $free (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $free)
        (global.set $free
            (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7)) (i32.const -8))))
    (func (export "kubeopencode:plugin/context-type@1.0.0#describe") (result i32) (i32.const 0))
    (func (export "kubeopencode:plugin/context-type@1.0.0#evaluate") (param i32) (result i32) (i32.const 1024)))
