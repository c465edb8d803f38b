"""Ordinary tools that nobody here has, for logs in which too few were ever offered. Data, not logic.

None of them stores, looks up or summarises what a user says, so that none is a right answer to a request for memory.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_TOOLS = """
get_weather_forecast | Forecast for a place and a day. | place, day
convert_currency | Converts an amount at today's rate. | amount:number, source, target
book_meeting_room | Reserves a room of the office. | room, start, minutes:integer
translate_document | Translates a file into another language. | path, language
resize_image | Changes the size of a picture. | path, width:integer, height:integer
start_timer | Starts a countdown. | minutes:integer
print_label | Prints an address label. | name, address, copies:integer
list_departures | Next departures of a station. | station, count:integer
track_parcel | Where a parcel is. | carrier, number
set_thermostat | Sets the temperature of a room. | room, celsius:number
play_playlist | Plays music. | playlist, shuffle:boolean
water_plants | Opens the valve of a flower bed. | bed, litres:number
order_groceries | Puts an item into the basket of a shop. | item, quantity:integer
measure_air_quality | Fine dust at a place. | place
compile_project | Compiles a source tree. | folder, target
run_unit_tests | Runs the tests of a module. | module, verbose:boolean
deploy_release | Brings a release to a server. | version, server
restart_service | Restarts a service of the operating system. | service
rotate_logs | Begins a new log file. | service, keep:integer
create_invoice | Makes an invoice. | customer, amount:number, currency
refund_payment | Pays back a card payment. | payment, amount:number
calculate_route | Route between two places. | origin, destination, mode
estimate_tax | Estimates the income tax of a year. | income:number, country, year:integer
scan_barcode | Reads a barcode from a picture. | path
generate_password | Makes a random password. | length:integer, symbols:boolean
check_spelling | Finds misspelt words in a file. | path, language
plot_chart | Draws a chart from a table. | table, kind, output
archive_folder | Packs a folder into a zip file. | folder, output
ping_host | Measures the delay to a host. | host, count:integer
read_sensor | Current value of a sensor. | sensor
open_garage_door | Opens the garage door. | code
brew_coffee | Starts the coffee machine. | strength, cups:integer
schedule_backup | Plans a backup of a disk. | disk, hour:integer
unlock_bike | Unlocks a rental bike. | bike
simulate_dice | Throws dice. | count:integer, sides:integer
render_video | Renders a video project. | project, height:integer
"""


def ordinary_tools() -> Iterator[Mapping[str, Any]]:
    """Yield the definitions, as chat completions offer them."""
    for line in _TOOLS.strip().splitlines():
        name, description, parameters = (part.strip() for part in line.split("|"))
        typed = [
            (key, kind or "string") for key, _, kind in (each.strip().partition(":") for each in parameters.split(","))
        ]
        schema = {
            "type": "object",
            "properties": {key: {"type": kind} for key, kind in typed},
            "required": [typed[0][0]],
        }
        yield {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


SCOPES = """
invoices | invoices of the accounting department
payroll | payroll of the staff
warehouse | goods in a warehouse
tickets | tickets of a help desk
patients | records of a clinic
contracts | contracts of the legal department
vehicles | vehicles of a fleet
recipes | recipes of a canteen
lab_samples | samples of a laboratory
exhibits | exhibits of a museum
timetable | the timetable of a school
auctions | lots of an auction house
greenhouse | plants in a greenhouse
shipments | shipments of a harbour
elections | results of elections
rentals | flats that are let
orchestra | scores of an orchestra
airfield | flights of an airfield
archive_films | films of an archive
quarry | loads of a quarry
beehives | hives of a beekeeper
ski_lifts | lifts of a ski resort
voting_lists | lists of voters
blood_bank | units of a blood bank
theatre | seats of a theatre
turbines | turbines of a wind farm
parking | places of a car park
permits | permits of a building authority
tournaments | tournaments of a chess club
water_meters | water meters of a town
"""
"""Purposes that make another tool of a tool: end of the name, and what it is only for."""


def scopes() -> list[tuple[str, str]]:
    """Return the purposes."""
    return [
        (name.strip(), meaning.strip()) for name, meaning in (line.split("|") for line in SCOPES.strip().splitlines())
    ]
