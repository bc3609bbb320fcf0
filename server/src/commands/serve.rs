//! `server serve`: load, listen, say so, and run until asked to stop.
//!
//! Called by `main`. Puts the pieces together; each is explained where it lives.

use std::io::Write;
use std::time::Duration;

use tokio::net::TcpListener;

use super::{CommandError, io};
use crate::config::Config;
use crate::loading::{Capacity, Loaded, load};
use crate::serve::Loading;
use crate::service::Service;
use crate::startup::{Example, StartMessage};

/// Serves until SIGTERM or SIGINT; running answers are finished first.
///
/// # Errors
/// When the model cannot be loaded or the address not be had.
pub fn serve(config: &Config) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(io("start the threads that answer HTTP"))?;
    let listener = runtime.block_on(listen(config))?;
    let loading = runtime.block_on(Loading::begin(&listener)).map_err(io("answer while the model is loaded"))?;
    let loaded = load(&config.model)?;
    let capacity = loaded.capacity(config)?;
    let message = start_message(config, &loaded, &capacity, &listener).map_err(io("read the listener's address"))?;
    let Service { api, engine } = Service::start(config, loaded, capacity)?;
    drop(loading);
    runtime.block_on(async {
        let shutdown = crate::serve::termination().map_err(io("wait for signals"))?;
        std::io::stdout().write_all(message.as_bytes()).map_err(io("print the start message"))?;
        let drain = config.server.drain_timeout;
        crate::serve::serve(listener, api, drain, shutdown).await.map_err(io("serve HTTP"))
    })?;
    // Streams that outlived the drain are cut by ending the runtime; their requests are cancelled with them.
    runtime.shutdown_timeout(Duration::from_secs(1));
    engine.handle.drain();
    engine.join();
    Ok(())
}

async fn listen(config: &Config) -> Result<TcpListener, CommandError> {
    let (host, port) = (config.server.host.clone(), config.server.port);
    TcpListener::bind((host.as_str(), port)).await.map_err(|source| CommandError::Listen { host, port, source })
}

fn start_message(
    config: &Config,
    loaded: &Loaded,
    capacity: &Capacity,
    listener: &TcpListener,
) -> std::io::Result<String> {
    let model = loaded.model.config();
    let (encoder, decoder) = (&model.encoder, &model.decoder);
    let width = if encoder.hidden == decoder.hidden {
        format!("width {}", encoder.hidden)
    } else {
        format!("widths {}+{}", encoder.hidden, decoder.hidden)
    };
    let message = StartMessage {
        address: listener.local_addr()?,
        model_name: &config.model.served_name,
        shape: &format!("{}+{} layers of {width}", encoder.layers, decoder.layers),
        precision: config.model.precision,
        device: config.model.device,
        instruction_set: loaded.level.name(),
        threads: config.model.threads,
        pages: capacity.door.pages,
        page_pool_bytes: config.limits.page_pool_bytes,
        example: if loaded.tokenizer.is_some() { Example::Text } else { Example::Ids },
    };
    Ok(message.to_string())
}
