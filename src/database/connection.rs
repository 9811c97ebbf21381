//! One connection, on which no statement waits for ever.
//!
//! Owns the bound on each answer. The server has one of its own (`statement_timeout`), which is worth nothing when the server
//! hangs, or the machine that it is on, or the network between: a socket that stays open and silent. Whoever waited that long in
//! vain gives the connection up, and a database that hangs is one that is away.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::connection::{CacheSize, Instrumentation};
use diesel::pg::{Pg, PgNotification};
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::{ConnectionResult, QueryResult};
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection,
};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Stream};
use futures_util::{FutureExt, StreamExt};

/// How long an answer is waited for: twice what the server gives a statement, for the way there and back.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

type RowStream = <AsyncPgConnection as AsyncConnectionCore>::Stream<'static, 'static>;
type Row = <AsyncPgConnection as AsyncConnectionCore>::Row<'static, 'static>;

/// A connection. Once an answer did not come it is of no use any more, and everything said to it fails.
pub struct Connection {
    inner: AsyncPgConnection,
    patience: Patience,
}

/// How long one connection's answers are waited for, and whether that was too long once.
#[derive(Clone)]
struct Patience {
    limit: Option<Duration>,
    is_over: Arc<AtomicBool>,
}

impl Connection {
    pub(super) fn new(inner: AsyncPgConnection) -> Connection {
        let patience = Patience {
            limit: Some(ANSWER_TIMEOUT),
            is_over: Arc::default(),
        };
        Connection { inner, patience }
    }

    /// From now on each answer is waited for that long; `None`: for ever. For statements whose own bound is another too.
    pub fn be_patient(&mut self, limit: Option<Duration>) {
        self.patience.limit = limit;
    }

    /// What is notified to this session, as it comes. Not bounded: there may be nothing to tell.
    pub fn notifications(&mut self) -> impl Stream<Item = QueryResult<PgNotification>> + '_ {
        self.inner.notifications_stream()
    }
}

impl Patience {
    async fn bound<T>(&self, answer: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
        let Some(limit) = self.limit else { return answer.await };
        if self.is_over.load(Ordering::Relaxed) {
            return Err(given_up(limit));
        }
        tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
            // Whatever were said after it would wait behind it.
            self.is_over.store(true, Ordering::Relaxed);
            Err(given_up(limit))
        })
    }
}

fn given_up(limit: Duration) -> Error {
    let message = format!("the database did not answer within {limit:?}; this connection is given up");
    Error::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(message))
}

impl SimpleAsyncConnection for Connection {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.patience.bound(self.inner.batch_execute(query)).await
    }
}

impl AsyncConnectionCore for Connection {
    type ExecuteFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<usize>>;
    type LoadFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<RowStream>>;
    type Stream<'conn, 'query> = RowStream;
    type Row<'conn, 'query> = Row;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        let rows = self.inner.load(source);
        let patience = self.patience.clone();
        async move { Ok(bounded(patience.bound(rows).await?, patience)) }.boxed()
    }

    fn execute_returning_count<'conn, 'query, T>(&'conn mut self, source: T) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        self.patience.bound(self.inner.execute_returning_count(source)).boxed()
    }
}

/// Rows of which each comes in time.
fn bounded(rows: RowStream, patience: Patience) -> BoxStream<'static, QueryResult<Row>> {
    stream::try_unfold((rows, patience), |(mut rows, patience)| async move {
        let next = async { rows.next().await.transpose() };
        let row = patience.bound(next).await?;
        Ok(row.map(|row| (row, (rows, patience))))
    })
    .boxed()
}

impl AsyncConnection for Connection {
    type TransactionManager = AnsiTransactionManager;

    async fn establish(url: &str) -> ConnectionResult<Self> {
        AsyncPgConnection::establish(url).await.map(Connection::new)
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        self.inner.transaction_state()
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.inner.instrumentation()
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.inner.set_instrumentation(instrumentation);
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.inner.set_prepared_statement_cache_size(size);
    }
}

impl PoolableConnection for Connection {
    fn is_broken(&mut self) -> bool {
        self.patience.is_over.load(Ordering::Relaxed) || self.inner.is_broken()
    }
}
