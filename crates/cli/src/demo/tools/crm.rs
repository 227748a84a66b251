//! The customers: a small SQLite database of made-up people.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ToolServerError;
use super::reports::FileName;

/// The customer database and the folder its exports go to.
pub struct Crm {
    database: Mutex<Connection>,
    exports: PathBuf,
}

/// The arguments of `find_customer`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindCustomer {
    name: String,
}

/// The arguments of `customer_statistics`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerStatistics {
    segment: Option<Segment>,
}

/// The arguments of `export_customers`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportCustomers {
    segment: Segment,
    destination: String,
}

impl Crm {
    /// Opens `crm.db` in `dir`, and fills it on first use.
    ///
    /// # Errors
    ///
    /// When the database cannot be opened or filled.
    pub fn open(dir: &Path, exports: PathBuf) -> Result<Self, ToolServerError> {
        let mut database = Connection::open(dir.join("crm.db"))?;
        database.execute_batch(SCHEMA)?;
        fill(&mut database)?;
        Ok(Self { database: Mutex::new(database), exports })
    }

    /// The customers whose name contains the text, at most twenty.
    ///
    /// # Errors
    ///
    /// When the text is empty or the database fails.
    pub fn find(&self, wanted: FindCustomer) -> Result<Value, ToolServerError> {
        let name = wanted.name.trim();
        if name.is_empty() {
            return Err(ToolServerError::Empty("name"));
        }
        let database = self.lock();
        let mut statement =
            database.prepare("SELECT * FROM customer WHERE instr(lower(name), lower(?1)) > 0 ORDER BY id LIMIT 20")?;
        let found = statement.query_map([name], Customer::read)?;
        let customers = found.collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "customers": customers }))
    }

    /// Counts and the average over all; per city only counts, as an average of one is personal.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn statistics(&self, wanted: CustomerStatistics) -> Result<Value, ToolServerError> {
        let segment = wanted.segment.map(Segment::as_str);
        let database = self.lock();
        let (count, average): (i64, i64) = database.query_row(
            "SELECT count(*), coalesce(cast(avg(balance_cents) AS INTEGER), 0) FROM customer
             WHERE ?1 IS NULL OR segment = ?1",
            [segment],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut statement = database.prepare(
            "SELECT city, count(*) FROM customer WHERE ?1 IS NULL OR segment = ?1
             GROUP BY city ORDER BY city",
        )?;
        let cities = statement.query_map([segment], |row| {
            let (city, count): (String, i64) = (row.get(0)?, row.get(1)?);
            Ok((city, Value::from(count)))
        })?;
        let by_city = cities.collect::<Result<Map<String, Value>, _>>()?;
        Ok(json!({ "count": count, "average_balance_cents": average, "by_city": by_city }))
    }

    /// Writes the customers of a segment, personal data and all, into a CSV file.
    ///
    /// # Errors
    ///
    /// When the destination is no name, the database fails or the file cannot be written.
    pub fn export(&self, wanted: ExportCustomers) -> Result<Value, ToolServerError> {
        let path = self.exports.join(FileName::sanitised(&wanted.destination)?.as_str());
        let customers = {
            let database = self.lock();
            let mut statement = database.prepare("SELECT * FROM customer WHERE segment = ?1 ORDER BY id")?;
            let found = statement.query_map([wanted.segment.as_str()], Customer::read)?;
            found.collect::<Result<Vec<_>, _>>()?
        };
        let mut csv = String::from("id,name,email,phone,city,segment,balance_cents,note\r\n");
        for customer in &customers {
            csv.push_str(&customer.csv_line());
        }
        if let Err(source) = std::fs::write(&path, csv) {
            return Err(ToolServerError::File { path, source });
        }
        Ok(json!({ "path": path.to_string_lossy(), "rows": customers.len() }))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Segment {
    Retail,
    Business,
    Private,
}

impl Segment {
    fn as_str(self) -> &'static str {
        match self {
            Self::Retail => "retail",
            Self::Business => "business",
            Self::Private => "private",
        }
    }
}

#[derive(Serialize)]
struct Customer {
    id: i64,
    name: String,
    email: String,
    phone: String,
    city: String,
    segment: String,
    balance_cents: i64,
    note: String,
}

impl Customer {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            email: row.get("email")?,
            phone: row.get("phone")?,
            city: row.get("city")?,
            segment: row.get("segment")?,
            balance_cents: row.get("balance_cents")?,
            note: row.get("note")?,
        })
    }

    fn csv_line(&self) -> String {
        let quoted = [&self.name, &self.email, &self.phone, &self.city, &self.segment]
            .map(|field| format!("\"{}\"", field.replace('"', "\"\"")));
        let note = self.note.replace('"', "\"\"");
        format!("{},{},{},\"{note}\"\r\n", self.id, quoted.join(","), self.balance_cents)
    }
}

fn fill(database: &mut Connection) -> Result<(), rusqlite::Error> {
    let transaction = database.transaction()?;
    let there: i64 = transaction.query_row("SELECT count(*) FROM customer", (), |r| r.get(0))?;
    if there == 0 {
        let mut insert = transaction.prepare("INSERT INTO customer VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
        for (id, (name, city)) in (1_i64..).zip(PEOPLE) {
            let (segment, domain) = match id % 3 {
                0 => (Segment::Private, "example.net"),
                1 => (Segment::Retail, "example.com"),
                _ => (Segment::Business, "example.org"),
            };
            let note = usize::try_from(id % 4).ok().and_then(|n| NOTES.get(n)).copied().unwrap_or_default();
            let email = format!("{}@{domain}", name.to_lowercase().replace(' ', "."));
            let phone = format!("+1 202 555 {:04}", 100 + id);
            let balance = (id * id * 7919 + 12_345) % 900_000 - 50_000;
            insert.execute((id, name, email, phone, city, segment.as_str(), balance, note))?;
        }
    }
    transaction.commit()
}

/// The definitions of the three customer tools.
pub fn definitions() -> Vec<Value> {
    let text = |about: &str| json!({ "type": "string", "minLength": 1, "description": about });
    let segment = json!({
        "type": "string",
        "enum": ["retail", "business", "private"],
        "description": "The segment of customers.",
    });
    let find = json!({ "name": text("All or part of a customer's name.") });
    let statistics = json!({ "segment": segment });
    let destination = text("The file name of the export.");
    let export = json!({ "segment": segment, "destination": destination });
    let look = "Looks customers up by name and returns their contact data, balance and note.";
    let sum = "Counts customers by city and averages their balance; returns no personal data.";
    let copy = "Writes all customers of a segment, with their personal data, into a CSV file.";
    vec![
        definition("find_customer", "Find a customer", look, find, &["name"], true),
        definition("customer_statistics", "Customer statistics", sum, statistics, &[], true),
        definition("export_customers", "Export customers", copy, export, &["segment", "destination"], false),
    ]
}

fn definition(name: &str, title: &str, description: &str, properties: Value, required: &[&str], read_only: bool) -> Value {
    json!({
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        },
        "annotations": {
            "readOnlyHint": read_only,
            "destructiveHint": !read_only,
            "idempotentHint": true,
            "openWorldHint": false,
        },
    })
}

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS customer (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, phone TEXT NOT NULL,
    city TEXT NOT NULL, segment TEXT NOT NULL, balance_cents INTEGER NOT NULL, note TEXT NOT NULL
) STRICT";

/// What was last heard of a customer.
const NOTES: [&str; 4] = [
    "Prefers to be called in the morning, between nine and eleven, and never on a Monday. The last letter came back because \
     the number of the house was missing; whoever calls next should ask for it, and should not mention the reminder, which \
     crossed with the payment.",
    "Asked for paper invoices, printed large, since the spring. Was sent three by mistake in June and paid the first; the \
     other two are cancelled, and the bookkeeping knows. A renewal for two years was talked about on the telephone, and \
     nothing has been signed yet.",
    "Moved house last year, and the new address is confirmed. Two deliveries still went to the old one in May, because the \
     carrier keeps a list of its own. The carrier has promised to correct it; until then every parcel is to be announced by \
     telephone.",
    "The contract is up for renewal in autumn. There was a complaint about the hotline in February, which was answered with a \
     credit of one month; the customer would stay for the same price, and has asked twice who is responsible for small \
     accounts now.",
];

#[rustfmt::skip]
const PEOPLE: [(&str, &str); 40] = [
    ("Ada Holm", "Bergen"), ("Bruno Castell", "Porto"), ("Clara Winther", "Aarhus"), ("Dario Venn", "Turin"),
    ("Elin Sandvik", "Bergen"), ("Farid Nassar", "Porto"), ("Greta Lindqvist", "Aarhus"), ("Hugo Marchetti", "Turin"),
    ("Ines Carvalho", "Porto"), ("Jonas Bakke", "Bergen"), ("Katya Orlova", "Leeds"), ("Liam Prescott", "Leeds"),
    ("Mara Toft", "Aarhus"), ("Nils Ekdahl", "Bergen"), ("Olga Brandt", "Turin"), ("Pavel Novik", "Leeds"),
    ("Quinn Harlow", "Leeds"), ("Rosa Almeida", "Porto"), ("Stellan Bragg", "Bergen"), ("Tilda Friis", "Aarhus"),
    ("Ugo Ferrante", "Turin"), ("Vera Mikkelsen", "Aarhus"), ("Wanda Kowal", "Leeds"), ("Xavier Pons", "Porto"),
    ("Yara Haddad", "Porto"), ("Zeno Rinaldi", "Turin"), ("Anton Krag", "Aarhus"), ("Bella Thorne Wick", "Leeds"),
    ("Caspar Lunde", "Bergen"), ("Delia Fonseca", "Porto"), ("Emil Storm", "Aarhus"), ("Flora Bianchi", "Turin"),
    ("Gavin Ashdown", "Leeds"), ("Hanne Solberg", "Bergen"), ("Ivo Sartori", "Turin"), ("Judith Penrose", "Leeds"),
    ("Kristian Dahl", "Bergen"), ("Lucia Moretti", "Turin"), ("Miguel Tavares", "Porto"), ("Nora Vestergaard", "Aarhus"),
];
