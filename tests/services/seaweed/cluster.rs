//! A cluster of SeaweedFS, whose volume servers can be killed.

use super::super::tools::{Served, free_ports};
use super::{STARTS, Seaweed, answers, fetch, folder, weed};

/// A cluster: a master, three volume servers that keep everything twice, a filer, and S3.
pub struct SeaweedCluster {
    seaweed: Seaweed,
}

impl SeaweedCluster {
    /// Starts one, for a single test.
    pub fn start() -> Self {
        let seaweed = (0..STARTS).find_map(|_| Self::try_start()).expect("a SeaweedFS cluster that keeps its ports");
        Self { seaweed }
    }

    fn try_start() -> Option<Seaweed> {
        let [master, master_grpc, filer, filer_grpc, s3, s3_grpc] = free_ports();
        let master_address = format!("127.0.0.1:{master}.{master_grpc}");
        let local = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"];

        let mut command = weed("master");
        command.args(local).args(["-mdir=.", "-defaultReplication=001", "-volumeSizeLimitMB=1024"]);
        command.args([format!("-port={master}"), format!("-port.grpc={master_grpc}")]);
        let mut servers = vec![Served::start(folder(), &command)];
        for _ in 0..3 {
            let [port, grpc] = free_ports();
            let mut command = weed("volume");
            command.args(local).args(["-dir=.", "-max=1000", "-preStopSeconds=0"]);
            command.args([format!("-master={master_address}"), format!("-port={port}"), format!("-port.grpc={grpc}")]);
            servers.push(Served::start(folder(), &command));
        }
        let joined = || {
            let status = fetch(master, "/dir/status").unwrap_or_default();
            status.matches("\"Url\":").count() == 3
        };
        servers[0].wait_until_ready(joined).then_some(())?;

        let mut command = weed("filer");
        command.args(local).arg(format!("-master={master_address}"));
        command.args([format!("-port={filer}"), format!("-port.grpc={filer_grpc}")]);
        servers.push(Served::start(folder(), &command));
        servers.last()?.wait_until_ready(|| answers(filer, "/healthz")).then_some(())?;

        let mut command = weed("s3");
        command.args(["-ip.bind=127.0.0.1", "-iam=false", "-config=s3.json", "-port.iceberg=0", "-port.lance=0"]);
        command.args([format!("-filer=127.0.0.1:{filer}.{filer_grpc}"), "-allowEmptyFolder=false".to_owned()]);
        command.args([format!("-port={s3}"), format!("-port.grpc={s3_grpc}")]);
        servers.push(Served::start(folder(), &command));
        servers.last()?.wait_until_ready(|| answers(s3, "/healthz")).then_some(())?;
        Seaweed::wait_until_it_stores(s3, servers)
    }

    /// Kills the volume server `which`, 0 to 2, as a power cut would.
    pub fn kill_volume_server(&self, which: usize) {
        let server = &self.seaweed.servers[1..4][which];
        let pid = server.pid().expect("the volume server was started");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        crate::support::wait_until("the volume server to be gone", || !server.is_running());
    }
}

impl std::ops::Deref for SeaweedCluster {
    type Target = Seaweed;

    fn deref(&self) -> &Seaweed {
        &self.seaweed
    }
}
