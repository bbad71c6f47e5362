use counter_gateway::gateway::Gateway;
use counter_gateway::settings::{Settings, USAGE};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(arguments).await {
        Ok(code) => code,
        Err(message) => {
            eprintln!("gateway: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Vec<String>) -> Result<ExitCode, String> {
    let settings = Settings::parse(arguments, std::env::var("DATABASE_URL").ok())?;
    let catch = |kind| signal(kind).map_err(|error| error.to_string());
    let (mut terminate, mut interrupt) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    let gateway = Gateway::start(settings).await?;
    println!("listening on http://{}", gateway.address()?);
    let end = gateway.run(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
        println!("stopping: what is queued is counted first");
    });
    let end = end.await?;
    println!(
        "counted {} views, refused by the database {}, given up {}",
        end.counted, end.refused, end.given_up
    );
    Ok(if end.given_up == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
