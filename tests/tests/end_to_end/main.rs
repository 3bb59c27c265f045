//! The end-to-end tests: the built programs and the adapters with real servers, in use and under faults.
//!
//! They are one program, so that it is linked once and its tests run side by side: most of them wait for other processes. So a
//! test changes nothing that the tests of one process share: no environment variable, working folder, limit or signal handler
//! of its own process. It sets variables on the commands that it starts.

mod alert_metrics;
mod bench;
mod cases;
mod cluster_bounds;
mod cluster_cli;
mod cluster_e2e;
mod cluster_faults;
mod cluster_full_redis;
mod cluster_kill;
mod cluster_once;
mod cluster_operate;
mod cluster_python;
mod cluster_secrets;
mod cluster_takeover;
mod cluster_three;
mod cluster_two_redis;
mod cluster_values;
mod connect_nats;
mod connect_tls;
mod denied_nats;
mod deploy;
mod doctor;
mod e2e_doctor;
mod e2e_example;
mod e2e_progress;
mod e2e_secrets;
mod e2e_servers;
mod faults_checkpoints;
mod faults_disk;
mod faults_nats;
mod faults_nats_disk;
mod faults_processes;
mod faults_redis;
mod faults_redis_full;
mod faults_run;
mod faults_servers;
mod faults_text;
mod faults_time;
mod forged_events;
mod full_logs;
mod kill_run;
mod kill_several;
mod metrics_listener;
mod nats_leftovers;
mod nats_ports;
mod passwords;
mod permissions;
mod readiness;
mod redis_users;
mod requests;
mod second_signal;
mod terminal;
