# Words for the expectations in tests/*.yaml. The input is the list of all objects that a case renders.

def objects($kind): [.[] | select(.kind == $kind)];
# one($kind): the only object of a kind; more or less than one is a failure
def one($kind): objects($kind) | if length == 1 then .[0] else error("\(length) objects of kind \($kind), not one") end;
def named($kind; $name): [.[] | select(.kind == $kind and .metadata.name == $name)] |
  if length == 1 then .[0] else error("\(length) objects \($kind) \($name), not one") end;
def none($kind): objects($kind) == [];

def pod: one("Deployment").spec.template;
def controller: pod.spec.containers | if length == 1 then .[0] else error("more than one container") end;
# the Pods of the operator, of the Job that precedes its removal and of the test
def allPods: .[] | if .kind == "Pod" then . elif .kind == "Deployment" or .kind == "Job" then .spec.template else empty end;
def podMetadata: [allPods.metadata];
def pods: [allPods.spec];
def definitions: [objects("CustomResourceDefinition")[].spec.names.kind] | sort;
def groups: [objects("CustomResourceDefinition")[].spec.group] | unique;
# may($role; $verb; $group; $resource): whether one of its rules says so
def may($role; $verb; $group; $resource): named("ClusterRole"; $role).rules |
  any((.verbs | index($verb)) and (.apiGroups | index($group)) and (.resources | index($resource)));
