//! `kubectl kubeopencode` as a user calls it, on the cluster under test.
//!
//! May touch: the kubeconfig that the environment names, processes that it starts. Must not touch: an object.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use kube::config::Kubeconfig;
use tokio::process::{Child, Command};

use crate::cluster::from_environment;

/// A user in a namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    variables: Vec<(String, String)>,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it remarked.
    pub stderr: String,
}

impl Kubectl {
    /// With all rights; `variable` names the kubeconfig, `program` is the one under test.
    pub fn admin(program: &str, variable: &str, namespace: &str) -> Self {
        let kubeconfig = PathBuf::from(from_environment(variable));
        Self { program: program.into(), kubeconfig, namespace: namespace.to_owned(), variables: Vec::new() }
    }

    /// The same as another user, whose kubeconfig is written into a folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn of_user(&self, user: &str, folder: &Path) -> Self {
        let mut kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        for known in &mut kubeconfig.auth_infos {
            known.auth_info.get_or_insert_default().impersonate = Some(user.to_owned());
        }
        self.with_kubeconfig(&kubeconfig, user, folder)
    }

    /// The same through a proxy that the kubeconfig names, which is written into a folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn through(&self, proxy: &str, folder: &Path) -> Self {
        let mut kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        for known in &mut kubeconfig.clusters {
            known.cluster.get_or_insert_default().proxy_url = Some(proxy.to_owned());
        }
        self.with_kubeconfig(&kubeconfig, "proxy", folder)
    }

    fn with_kubeconfig(&self, kubeconfig: &Kubeconfig, name: &str, folder: &Path) -> Self {
        let path = folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, serde_json::to_string(kubeconfig).unwrap()).unwrap();
        Self { kubeconfig: path, ..self.clone() }
    }

    /// The same with one more variable of the environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a call, which is killed when it is dropped.
    ///
    /// # Panics
    /// When there is no such program.
    pub fn start(&self, args: &[&str]) -> Child {
        Command::new(&self.program)
            .args(args)
            .arg("--namespace")
            .arg(&self.namespace)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .envs(self.variables.clone())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// A call to its end.
    pub async fn call(&self, args: &[&str]) -> Said {
        Self::end(self.start(args)).await
    }

    /// A call that must do well; gives what it printed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn prints(&self, args: &[&str]) -> String {
        let said = self.call(args).await;
        assert_eq!(said.code, 0, "kubectl kubeopencode {args:?}: {said:?}");
        said.stdout
    }

    /// Waits for the end of a call.
    ///
    /// # Panics
    /// When it prints what is no text.
    pub async fn end(call: Child) -> Said {
        let output = call.wait_with_output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
