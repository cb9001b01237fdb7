//! Many peers on one downloader, through the public interface: real sockets, and the rows D1 to D19 of the scenarios.

mod adapt;
mod commands;
mod depth;
mod examples;
mod harm;
mod order;
mod room;
mod stand;
